"""Plugins that are single files: loaded as if installed, and copied into the run directories that need them."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from lth_bench.errors import FileFault
from lth_bench.experiments.plugins import KINDS, Broken, Plugins, Provider
from lth_bench.hashing import sha256
from lth_bench.storage.files import publish
from lth_bench.storage.reading import names
from lth_bench.storage.records import plugin_folder
from lth_bench.storage.source_hash import FILE, forget_hashes


class _Loader(SourceFileLoader):
    """Reads a file once, and keeps no compiled copy, which a second edit within one second would not renew."""

    source = b""

    def get_code(self, fullname: str) -> CodeType:
        self.source = self.get_data(self.path)
        code: CodeType = self.source_to_code(self.source, self.path)
        return code


def load_file(path: Path, plugins: Plugins) -> Provider:
    """Adds what the hooks of a file register. Raises FileFault, and then adds nothing."""
    if fault := _name_fault(path, plugins):
        raise FileFault(fault)
    module, source = _imported(path)
    provider = Provider(path.stem, module.__name__, path.name, sha256(source)[:12])
    try:
        plugins.call_hooks(module, provider)
    except (Exception, SystemExit) as error:
        raise FileFault(f"the plugin {path} could not be loaded: {type(error).__name__}: {error}") from error
    if not plugins.names_of(provider):
        raise FileFault(f"the plugin {path} registers nothing; {_way_to_register(module, path.stem)}")
    plugins.files[path.name] = source
    return provider


def load_copies(folder: Path, plugins: Plugins) -> None:
    """Adds what the files in a folder register; those that fail are listed as broken.

    A file that is loaded already takes the place of its copy.
    """
    for name in names(folder) if folder.is_dir() else []:
        if name.endswith(".py") and not name.startswith(".") and name not in plugins.files:
            try:
                load_file(folder / name, plugins)
            except FileFault as fault:
                plugins.broken.append(Broken(Provider(Path(name).stem, "", name, ""), str(fault)))


def copy_files(plugins: Plugins, directory: Path) -> None:
    """Copies the files among the plugins into a run directory. Raises DiskFault."""
    for name, source in plugins.files.items():
        copy = plugin_folder(directory) / name
        if not copy.is_file() or copy.read_bytes() != source:
            publish(copy, source)


def _name_fault(path: Path, plugins: Plugins) -> str | None:
    if path.suffix != ".py":
        return f"the plugin {path} is no Python file, whose name ends in .py; a package has to be installed, with pip"
    if not path.is_file():
        return f"there is no plugin file {path}"
    if not path.stem.isidentifier():
        return f"the plugin {path} has no name of a Python module, such as my_method.py; rename it"
    if path.name in plugins.files:
        return f"another plugin file is called {path.name} as {path} is; rename one of them, or name it once"
    return None


def _imported(path: Path) -> tuple[ModuleType, bytes]:
    """The module of a file, run anew, and its source. Raises FileFault."""
    name = FILE + path.stem
    loader = _Loader(name, str(path.absolute()))
    spec = spec_from_file_location(name, path.absolute(), loader=loader)
    assert spec is not None
    module = module_from_spec(spec)
    before, sys.modules[name] = sys.modules.get(name), module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise FileFault(f"the plugin {path} could not be loaded: {_reason(error)}") from error
    if before:
        forget_hashes()
    return module, loader.source


def _reason(error: BaseException) -> str:
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        return f"{words}; a plugin of one file may import what is installed, and no file beside it"
    return words


def _way_to_register(module: ModuleType, stem: str) -> str:
    """What its author has to add."""
    if hooks := [f"register_{kind}" for kind in KINDS if hasattr(module, f"register_{kind}")]:
        return f"write @hookimpl, from lth_bench, above {hooks[0]}(), and call its argument with a name and an item"
    classes = [name for name, item in vars(module).items() if _is_own_dataclass(item, module)]
    name = classes[-1] if classes else "Mine"
    return (
        f"after `from lth_bench import hookimpl`, add two lines at its end:\n@hookimpl\n"
        f'def register_pruners(register): register("{stem.lower()}", {name})'
    )


def _is_own_dataclass(item: object, module: ModuleType) -> bool:
    return inspect.isclass(item) and dataclasses.is_dataclass(item) and item.__module__ == module.__name__
