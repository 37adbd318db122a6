
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const button = (text, name) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = name;
    made.textContent = text;
    return made;
  };

  // What a reader has chosen stands in the address, behind "#?", so that a link shows the same: the order of tables, the
  // fields of the form, chosen methods and hidden columns.
  const state = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
  const keep = (name, value) => {
    if (value) state.set(name, value);
    else state.delete(name);
    const text = state.toString();
    history.replaceState(null, "", text ? `#?${text}` : "#");
  };

  // Sorting: up, down, and back to the order of the suite. What is missing comes last either way.
  const words = new Intl.Collator("en", { numeric: true });
  const compare = (one, other) => (typeof one === "number" ? one - other : words.compare(one, other));
  const sorted = (rows, key, sign) => {
    const known = rows.filter((row) => key(row) !== undefined);
    const keys = new Map(known.map((row) => [row, key(row)]));
    known.sort((one, other) => sign * compare(keys.get(one), keys.get(other)));
    return [...known, ...rows.filter((row) => key(row) === undefined)];
  };
  const number = (cell) => (cell.dataset.value === undefined ? undefined : Number(cell.dataset.value));
  const word = (cell) => (cell.textContent === "–" ? undefined : cell.textContent);
  for (const [place, table] of all("main table").entries()) {
    const rows = [...table.tBodies[0].rows];
    const heads = all("th[data-sort]", table);
    const order = (head, next) => {
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const value = head.classList.contains("number") ? number : word;
      const key = (row) => value(row.cells[head.cellIndex]);
      table.tBodies[0].append(...(next ? sorted(rows, key, next === "ascending" ? 1 : -1) : rows));
    };
    for (const head of heads) {
      const choose = button(head.textContent, "sort");
      head.replaceChildren(choose);
      choose.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const next = now === null ? "ascending" : now === "ascending" ? "descending" : null;
        order(head, next);
        keep(`sort${place}`, next && `${head.cellIndex}.${next}`);
      });
    }
    const [column, direction] = (state.get(`sort${place}`) ?? "").split(".");
    const head = heads.find((one) => String(one.cellIndex) === column);
    if (head && ["ascending", "descending"].includes(direction)) order(head, direction);
  }

  // Columns: a wide table lets its reader choose.
  const many = 9;
  for (const [place, table] of all("main table").entries()) {
    const heads = all("th[data-sort]", table);
    if (heads.length < many || table.classList.contains("board")) continue;
    const groups = all(".groups > *", table);
    const names = groups.flatMap((group) => Array(group.colSpan).fill(group));
    const hidden = new Set((state.get(`hide${place}`) ?? "").split(".").filter(Boolean).map(Number));
    const chooser = document.createElement("details");
    chooser.className = "chooser";
    const title = document.createElement("summary");
    title.textContent = "Columns";
    chooser.append(title);
    const show = () => {
      for (const row of [heads[0].parentElement, ...table.tBodies[0].rows])
        [...row.cells].forEach((cell, at) => (cell.hidden = hidden.has(at)));
      for (const group of groups) {
        const left = names.filter((name, at) => name === group && !hidden.has(at)).length;
        group.hidden = !left;
        if (left) group.colSpan = left;
      }
      keep(`hide${place}`, [...hidden].join("."));
    };
    for (const head of heads.slice(1)) {
      const [label, box] = [document.createElement("label"), document.createElement("input")];
      const group = names[head.cellIndex]?.textContent;
      box.type = "checkbox";
      box.checked = !hidden.has(head.cellIndex);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(head.cellIndex);
        else hidden.add(head.cellIndex);
        show();
      });
      label.append(box, ` ${group ? `${group}: ` : ""}${head.textContent}`);
      chooser.append(label);
    }
    table.parentElement.before(chooser);
    if (hidden.size) show();
  }

  // Filtering: one form for all tables.
  const blocks = all(".block");
  const form = document.querySelector(".filter");
  if (form) {
    const rows = all("main tbody tr").map((row) => {
      const block = blocks[row.dataset.block];
      const about = `${row.textContent} ${block ? block.querySelector("h2").textContent : ""}`.toLowerCase();
      return { row, block, about, targets: row.dataset.targets?.split("|") };
    });
    const asked = (name) => form.elements[name]?.value ?? "";
    const wanted = (block) =>
      ["dataset", "model"].every((kind) => !asked(kind) || block.dataset[kind] === asked(kind));
    const filter = () => {
      const text = asked("text").trim().toLowerCase();
      const target = asked("target");
      const methods = form.elements.methods.checked;
      const here = (targets) => !target || !targets || targets.includes(target);
      blocks.forEach((block) => (block.hidden = !wanted(block)));
      for (const { row, block, about, targets } of rows) {
        const fits = about.includes(text) && here(targets) && (!block || wanted(block));
        row.hidden = !fits || (methods && row.dataset.control !== undefined);
      }
      for (const head of all(".board th[data-targets]")) {
        const hidden = !here(head.dataset.targets.split("|"));
        all("tr", head.closest("table")).forEach((row) => (row.cells[head.cellIndex].hidden = hidden));
      }
      const shown = rows.filter(({ row }) => !row.hidden).length;
      const count = (value) => value.toLocaleString("en");
      for (const name of ["text", "dataset", "model", "target"]) keep(name, asked(name));
      keep("methods", methods && "1");
      form.querySelector("output").textContent =
        shown === rows.length ? `${count(shown)} rows` : `${count(shown)} of ${count(rows.length)} rows`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("reset", () => setTimeout(filter));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    for (const name of ["text", "dataset", "model", "target"])
      if (form.elements[name] && state.has(name)) form.elements[name].value = state.get(name);
    form.elements.methods.checked = state.has("methods");
    filter();
  }

  // A method that is pointed at stands out in the figures of its leaderboard; those that are chosen, by a click or with
  // the return key, until they are again.
  const chosen = new Set((state.get("chosen") ?? "").split(" ").filter(Boolean));
  const pick = (block, number) => {
    const place = blocks.indexOf(block);
    const shown = new Set([...chosen].filter((one) => one.startsWith(`${place}.`)).map((one) => one.split(".")[1]));
    if (number !== undefined) shown.add(number);
    for (const drawing of all("svg", block)) {
      const found = [...shown].some((one) => drawing.querySelector(`[data-number="${CSS.escape(one)}"]`));
      drawing.classList.toggle("picking", found);
    }
    for (const part of all("[data-number]", block)) part.classList.toggle("picked", shown.has(part.dataset.number));
    for (const choose of all("button.choose", block))
      choose.setAttribute("aria-pressed", chosen.has(`${place}.${choose.closest("tr").dataset.number}`));
  };
  for (const block of blocks.filter((block) => block.querySelector("svg [data-number]"))) {
    const part = "svg [data-number], .board tr[data-number]";
    const held = () => (block.contains(document.activeElement) ? document.activeElement.closest(part) : null);
    const point = (event) => pick(block, (event.target.closest(part) ?? held())?.dataset.number);
    ["pointerover", "focusin"].forEach((kind) => block.addEventListener(kind, point));
    block.addEventListener("pointerleave", () => pick(block, held()?.dataset.number));
    block.addEventListener("focusout", () => pick(block));
    for (const row of all(".board tr[data-number]", block)) {
      const name = `${blocks.indexOf(block)}.${row.dataset.number}`;
      const text = row.querySelector("th.method").firstChild;
      if (text?.nodeType !== Node.TEXT_NODE) continue;
      const choose = button(text.textContent, "choose");
      choose.addEventListener("click", () => {
        if (!chosen.delete(name)) chosen.add(name);
        keep("chosen", [...chosen].join(" "));
        pick(block, row.dataset.number);
      });
      text.replaceWith(choose);
    }
    pick(block);
  }

  // Records: one is read when it is asked for.
  const unseen = /[\p{C}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2028\u2029\u2800\u3164\ufe00-\ufe0e\uffa0]/gu;
  const spelled = (found) =>
    [...Array(found.length).keys()].map((at) => `\\u${found.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");
  const simple = (value) => value === null || typeof value !== "object";
  const quoted = (value) => JSON.stringify(value).replace(unseen, spelled);
  const members = (value, show) =>
    Array.isArray(value) ? value.map(show) : Object.entries(value).map(([name, part]) => `${quoted(name)}: ${show(part)}`);
  const brackets = (value) => (Array.isArray(value) ? "[]" : "{}");
  const line = (value) => (simple(value) ? quoted(value) : [...brackets(value)].join(members(value, line).join(", ")));
  const lines = (value, indent) => {
    const short = line(value);
    if (short.length + indent.length <= 100 || simple(value) || (Array.isArray(value) && value.every(simple))) return short;
    const [open, close] = brackets(value);
    const deeper = `${indent}  `;
    return `${open}\n${members(value, (part) => lines(part, deeper)).map((part) => deeper + part).join(",\n")}\n${indent}${close}`;
  };
  const readable = (text) => {
    try {
      return lines(JSON.parse(text), "");
    } catch {
      return text.replace(unseen, spelled);
    }
  };
  const dialog = document.querySelector("dialog");
  if (!dialog) return;
  const command = dialog.querySelector(".command code");
  const open = (row) => {
    const [name, board, sparsity, seed] = [...row.cells].map((cell) => cell.textContent);
    dialog.querySelector("h2").textContent = `${name}, ${board}, sparsity ${sparsity}, seed ${seed}`;
    command.textContent = row.dataset.command;
    dialog.querySelector(".record").textContent = readable(document.getElementById(`record-${row.dataset.record}`).textContent);
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  const known = new Map(all("tr[data-record]").map((row) => [row.querySelector("td.key code").textContent, row]));
  for (const cell of all("td.key")) {
    const code = cell.querySelector("code");
    const row = cell.parentElement.dataset.record ? cell.parentElement : known.get(code.textContent);
    if (!row) continue;
    const choose = button(code.textContent, "open");
    choose.addEventListener("click", () => open(row));
    code.replaceWith(choose);
  }
  all(".live").forEach((part) => (part.hidden = false));
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.querySelector(".take").addEventListener("click", () => {
    getSelection().selectAllChildren(command);
    document.execCommand("copy");
  });
})();
