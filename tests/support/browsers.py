"""Pages in a browser."""

from __future__ import annotations

from contextlib import contextmanager


@contextmanager
def opened(browser, path, parts=(), **options):
    """A file in a browser; at the end, nothing was said, asked of the user, or requested but its `parts`."""
    noticed, own = [], {path.as_uri(), *parts}
    context = browser.new_context(**options)
    tab = context.new_page()
    tab.on("console", lambda message: noticed.append(message.text))
    tab.on("pageerror", lambda error: noticed.append(str(error)))
    tab.on("request", lambda request: noticed.append(request.url) if request.url not in own else None)
    tab.on("dialog", lambda dialog: (noticed.append(dialog.message), dialog.dismiss()))
    tab.set_default_timeout(10_000)
    tab.goto(path.as_uri())
    yield tab
    assert noticed == []
    context.close()
