"use strict";
// The page's only script: theme, sortable tables, sample browser. Texts go through textContent alone, so none can become markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const NONE = "–";
  const ROW_HEIGHT = 54; // as .option in report.css
  const BEST = "best"; // decided by a judge where one was asked, else the oracle, else the score
  const SIGNS = { win: "▲", loss: "▼", tie: "=", unscored: "?", unasked: "·" };
  const OUTCOMES = ["all", "win", "tie", "loss", "unscored", "truncated"];

  function make(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // A name with places where a narrow column may break it, as markup.py does.
  const breakable = (name) => name.split(/(?<=[_:,])/).flatMap((part) => [part, document.createElement("wbr")]);

  // As formatting.py: as many decimals as the size deserves, a true minus sign.
  function number(value, { signed = false } = {}) {
    if (value === null || value === undefined || Number.isNaN(value)) return NONE;
    const size = Math.abs(Math.round(value * 1000) / 1000);
    const decimals = size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0;
    const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    if (!/[1-9]/.test(text)) return text;
    return (value < 0 ? "−" : signed ? "+" : "") + text;
  }

  // ---- Theme: the system's, or one of the two for as long as the page is open.
  function startTheme() {
    const button = byId("theme");
    const themes = ["as the system", "light", "dark"];
    let current = 0;
    button.hidden = false;
    button.addEventListener("click", () => {
      current = (current + 1) % themes.length;
      if (current === 0) delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = themes[current];
      button.textContent = `Theme: ${themes[current]}`;
    });
  }

  // ---- Tables: a click on a head sorts downwards, then upwards, then back to the order of the report.
  function startTables() {
    for (const table of document.querySelectorAll("table.sortable")) {
      const body = table.tBodies[0];
      const original = [...body.rows];
      if (original.length < 2) continue;
      [...table.tHead.rows[0].cells].forEach((head, column) => {
        const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => sortTable(body, original, head, column));
      });
    }
  }

  function sortTable(body, original, head, column) {
    const numeric = head.classList.contains("number");
    const [first, second] = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
    const next = { [first]: second, [second]: null }[head.getAttribute("aria-sort")];
    const direction = next === undefined ? first : next;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    if (direction === null) return body.append(...original);
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const key = (row) => {
      const cell = row.cells[column];
      if (!numeric) return cell.textContent;
      return "value" in cell.dataset ? Number(cell.dataset.value) : null;
    };
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null); // what has no number stays below
      return sign * (numeric ? x - y : x.localeCompare(y, "en", { numeric: true }));
    };
    return body.append(...[...original].sort(compare));
  }

  // ---- Data blocks: JSON, or deflated JSON in base64.
  async function readBlock(id) {
    const node = byId(id);
    if (node.type === "application/json") return JSON.parse(node.textContent);
    if (!("DecompressionStream" in window)) {
      throw new Error("This browser cannot unpack the samples (no DecompressionStream): open the page in one from 2023 or later.");
    }
    const packed = atob(node.textContent);
    const bytes = new Uint8Array(packed.length);
    for (let place = 0; place < packed.length; place += 1) bytes[place] = packed.charCodeAt(place);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  }

  const blocks = new Map();
  function block(id) {
    if (!blocks.has(id)) blocks.set(id, readBlock(id));
    return blocks.get(id);
  }

  // ---- Sample browser
  let index = null; // what index_data of browser.py wrote
  let state = null; // what the address holds
  let cells = new Map(); // arm to the numbers of its cell with the chosen seed
  let view = []; // rows that pass the filters, in order
  let found = null; // rows that hold the query, or null without one
  let searches = 0;
  let touched = false; // the address changes only once somebody uses the browser

  const rowCount = () => index.rows.prompts.length;
  const cellPlace = (arm, seed) => index.cells.findIndex((cell) => cell.arm === arm && cell.seed === seed);
  const textBlock = (row) => block(`texts-${Math.floor(row / index.chunkRows)}`);

  function defaults() {
    const place = (role) => index.arms.findIndex((arm) => arm.role === role);
    const reference = [place("token"), place("start"), 0].find((arm) => arm >= 0);
    const others = [place("macro"), place("control"), index.arms.findIndex((_, arm) => arm !== reference)];
    const arm = others.find((other) => other >= 0 && other !== reference) ?? reference;
    const seeds = [...new Set(index.cells.map((cell) => cell.seed))].sort((a, b) => a - b);
    return {
      row: null, arm, reference, seed: seeds[0], seeds, arms: index.arms.map((_, other) => other), decider: BEST, outcome: "all",
      subset: "", order: "evaluation", query: "", macros: true,
    };
  }

  // The address: only what differs from the defaults, names instead of places.
  function toHash() {
    const usual = defaults();
    const names = (arms) => arms.map((arm) => index.arms[arm].name).join(",");
    const parts = new URLSearchParams();
    const put = (name, value, standard) => { if (String(value) !== String(standard)) parts.set(name, value); };
    if (state.row !== null) {
      parts.set("sample", index.rows.prompts[state.row]);
      put("index", index.rows.samples[state.row], 0);
    }
    put("arm", names([state.arm]), names([usual.arm]));
    put("against", names([state.reference]), names([usual.reference]));
    put("arms", names(state.arms), names(usual.arms));
    put("seed", state.seed, usual.seed);
    put("by", state.decider, usual.decider);
    put("show", state.outcome, usual.outcome);
    put("subset", state.subset, usual.subset);
    put("order", state.order, usual.order);
    put("find", state.query, usual.query);
    put("macros", state.macros ? "on" : "off", "on");
    return `#${parts}`;
  }

  function fromHash(hash) {
    const read = defaults();
    const parts = new URLSearchParams(hash.replace(/^#/, ""));
    const places = (name) => (parts.get(name) ?? "").split(",").map((arm) => index.arms.findIndex((one) => one.name === arm)).filter((arm) => arm >= 0);
    const choice = (name, allowed, standard) => (allowed.includes(parts.get(name)) ? parts.get(name) : standard);
    read.arm = places("arm")[0] ?? read.arm;
    read.reference = places("against")[0] ?? read.reference;
    if (places("arms").length) read.arms = places("arms").sort((a, b) => a - b);
    if (read.seeds.includes(Number(parts.get("seed") ?? NaN))) read.seed = Number(parts.get("seed"));
    read.decider = choice("by", deciders().map(([value]) => value), BEST);
    read.outcome = choice("show", OUTCOMES, "all");
    read.subset = choice("subset", index.rows.subsets, "");
    read.order = choice("order", [...byId("order").options].map((option) => option.value), "evaluation");
    read.query = parts.get("find") ?? "";
    read.macros = parts.get("macros") !== "off";
    const [prompt, sample] = [parts.get("sample"), Number(parts.get("index") ?? 0)];
    const row = prompt === null ? -1 : index.rows.prompts.findIndex((one, place) => one === prompt && index.rows.samples[place] === sample);
    read.row = row >= 0 ? row : null;
    return read;
  }

  function writeHash() {
    const hash = toHash();
    if (touched && hash !== location.hash) history.replaceState(null, "", hash);
    const link = byId("permalink");
    if (link) link.href = hash;
  }

  // Who wins: [value, name] of every way to decide.
  function deciders() {
    const metrics = index.metrics.filter((metric) => metric.higherIsBetter !== null && metric.higherIsBetter !== undefined);
    return [
      [BEST, "best available"],
      ...index.judges.map((judge, place) => [`judge:${place}`, `judge ${judge.judge}`]),
      ...metrics.map((metric) => [metric.name, metric.title]),
    ];
  }

  const metricOf = (name) => index.metrics.find((metric) => metric.name === name);
  const sortMetric = () => metricOf(metricOf(state.decider) ? state.decider : index.oracle ?? index.primary);

  function value(arm, metric, row) {
    return cells.get(arm)?.metrics[metric]?.[row] ?? null;
  }

  function difference(arm, metric, row) {
    const [own, other] = [value(arm, metric, row), value(state.reference, metric, row)];
    return own === null || other === null ? null : own - other;
  }

  // The arm's judged score of a row against the reference: null if no judge was asked, -1 if it could not be scored.
  function judgedColumns(arm) {
    const wanted = state.decider === BEST ? null : Number(state.decider.replace("judge:", ""));
    return index.judged
      .filter((pair) => pair.seed === state.seed && (wanted === null || pair.judge === wanted))
      .filter((pair) => (pair.arm === arm && pair.reference === state.reference) || (pair.arm === state.reference && pair.reference === arm))
      .map((pair) => ({ judge: pair.judge, scores: pair.scores, turned: pair.arm !== arm }));
  }

  // Returns a function from row to { outcome, by, size }: size is the difference in the unit of what decided.
  function decision(arm) {
    const named = (outcome, by, size) => ({ outcome, by, size });
    const metric = sortMetric();
    const byMetric = (row) => {
      const size = difference(arm, metric.name, row);
      if (size === null) return named("unscored", metric.phrase, null);
      const better = metric.higherIsBetter === false ? -size : size;
      return named(better > 0 ? "win" : better < 0 ? "loss" : "tie", metric.phrase, size);
    };
    if (metricOf(state.decider)) return byMetric;
    const columns = judgedColumns(arm);
    return (row) => {
      for (const { judge, scores, turned } of columns) {
        const asked = scores[row];
        const by = index.judges.length > 1 ? `judge ${index.judges[judge].judge}` : "judge";
        if (asked === null) continue;
        if (asked < 0) return named("unscored", by, null);
        const score = turned ? 1 - asked : asked;
        return named(score > 0.5 ? "win" : score < 0.5 ? "loss" : "tie", by, score - 0.5);
      }
      return state.decider === BEST ? byMetric(row) : named("unasked", "judge", null);
    };
  }

  // Unscored: asked, without a verdict or a value. Unasked: no judge was given this pair.
  const outcomeWords = (outcome, by) => (outcome === "unasked" ? "not judged" : `${outcome} by ${by}`);

  // ---- Filters, order, list
  let decisions = []; // by row, of the chosen arm
  let sizes = new Float64Array(0); // by row, what the list is ordered by

  async function loadSeed() {
    const entries = index.arms.map(async (_, arm) => {
      const place = cellPlace(arm, state.seed);
      return [arm, place < 0 ? null : await block(`cell-${place}`)];
    });
    cells = new Map(await Promise.all(entries));
  }

  function decideAll() {
    const decide = decision(state.arm);
    const judged = state.decider.startsWith("judge:");
    const metric = sortMetric().name;
    decisions = new Array(rowCount());
    sizes = new Float64Array(rowCount());
    for (let row = 0; row < rowCount(); row += 1) {
      decisions[row] = decide(row);
      sizes[row] = (judged ? decisions[row].size : difference(state.arm, metric, row)) ?? NaN;
    }
  }

  function passes(row, outcome) {
    if (outcome === "all") return true;
    if (outcome === "truncated") return cells.get(state.arm)?.cut[row] === 1;
    return decisions[row].outcome === outcome;
  }

  function filterRows() {
    const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0]));
    view = [];
    for (let row = 0; row < rowCount(); row += 1) {
      if ((state.subset && index.rows.subsets[row] !== state.subset) || (found && !found[row])) continue;
      for (const outcome of OUTCOMES) if (passes(row, outcome)) counts[outcome] += 1;
      if (passes(row, state.outcome)) view.push(row);
    }
    const keys = { highest: (row) => -sizes[row], lowest: (row) => sizes[row], largest: (row) => -Math.abs(sizes[row]) };
    const key = keys[state.order];
    if (key) view.sort((a, b) => Number.isNaN(sizes[a]) - Number.isNaN(sizes[b]) || key(a) - key(b) || a - b);
    for (const outcome of OUTCOMES) byId(`count-${outcome}`).textContent = counts[outcome].toLocaleString("en-US");
  }

  function describeView() {
    const metric = sortMetric().phrase;
    const judged = state.decider.startsWith("judge:");
    const best = state.decider === BEST && judgedColumns(state.arm).length;
    const by = best ? `by a judge where one was asked, else by ${metric}` : `by ${judged ? "the judge" : metric}`;
    const [arm, reference] = [state.arm, state.reference].map((place) => index.arms[place].label);
    const unasked = view.filter((row) => decisions[row].outcome === "unasked").length;
    const counts = `${view.length.toLocaleString("en-US")} of ${rowCount().toLocaleString("en-US")} samples`;
    byId("status").textContent = `${counts}. ${arm} against ${reference}: ▲ ▼ ${by}; numbers: ${judged ? "judge's score minus ½" : `${metric}, the difference`}.${unasked ? ` · not judged: ${unasked.toLocaleString("en-US")}.` : ""}`;
  }

  function refresh({ keepRow = false } = {}) {
    filterRows();
    describeView();
    byId("list-space").style.height = `${view.length * ROW_HEIGHT}px`;
    if (state.row === null || !(keepRow || view.includes(state.row))) state.row = view[0] ?? null;
    revealSelected();
    drawList();
    return drawDetail();
  }

  const options = new Map(); // position to its node
  function drawList() {
    const list = byId("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - 4);
    const last = Math.min(view.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + 4);
    for (const [position, node] of options) {
      if (position < first || position >= last || node.row !== view[position]) {
        node.remove();
        options.delete(position);
      }
    }
    const fresh = [];
    for (let position = first; position < last; position += 1) {
      if (!options.has(position)) {
        const node = option(position);
        options.set(position, node);
        fresh.push(node);
      }
      options.get(position).setAttribute("aria-selected", String(view[position] === state.row));
    }
    byId("list-space").append(...fresh);
    const selected = options.get(view.indexOf(state.row));
    if (selected) list.setAttribute("aria-activedescendant", selected.id);
    else list.removeAttribute("aria-activedescendant");
  }

  function option(position) {
    const row = view[position];
    const { outcome, by } = decisions[row];
    const cut = cells.get(state.arm)?.cut[row] === 1;
    const place = [index.rows.prompts[row], index.rows.samples[row] ? `sample ${index.rows.samples[row]}` : "", index.rows.subsets[row]];
    const node = make("div", { className: "option", id: `option-${position}`, role: "option", "aria-posinset": position + 1, "aria-setsize": view.length },
      make("span", { className: `sign ${outcome}`, title: outcomeWords(outcome, by), textContent: SIGNS[outcome] }),
      make("span", { className: "option-title", dir: "auto", textContent: index.rows.titles[row] || "(empty prompt)" }),
      make("span", { className: "option-size", textContent: number(sizes[row], { signed: true }) }),
      make("span", { className: "option-place", textContent: place.filter(Boolean).join(" · ") }),
      make("span", { className: "option-cut", textContent: cut ? "truncated" : "" }));
    node.row = row;
    node.style.top = `${position * ROW_HEIGHT}px`;
    node.addEventListener("click", () => select(position));
    return node;
  }

  function revealSelected() {
    const position = view.indexOf(state.row);
    const list = byId("list");
    if (position < 0) return;
    const top = position * ROW_HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
  }

  function select(position) {
    if (!view.length) return;
    state.row = view[Math.max(0, Math.min(view.length - 1, position))];
    touched = true;
    revealSelected();
    drawList();
    drawDetail();
  }

  function step(by) {
    const position = view.indexOf(state.row);
    select(position < 0 ? 0 : position + by);
  }

  // ---- Search: every text of the chosen seed, a slice of time after another so that the page never stops.
  const haystacks = new Map(); // seed and chunk to the lower-case texts of its rows
  async function haystack(seed, chunk) {
    const name = `${seed} ${chunk}`;
    if (!haystacks.has(name)) {
      const data = await block(`texts-${chunk}`);
      const places = index.cells.flatMap((cell, place) => (cell.seed === seed ? [place] : []));
      haystacks.set(name, data.prompts.map((prompt, row) => {
        const texts = places.map((place) => data.responses[row][place]).filter((text) => text >= 0);
        const reasons = data.verdicts[row].filter((pair) => pair.seed === seed).flatMap((pair) => pair.calls.map((call) => call[3]));
        const id = index.rows.prompts[chunk * index.chunkRows + row];
        return [id, ...[...new Set([prompt, ...texts])].map((text) => data.texts[text]), ...reasons].join("\n").toLowerCase();
      }));
    }
    return haystacks.get(name);
  }

  const chunkCount = () => Math.ceil(rowCount() / index.chunkRows);
  const breathe = () => new Promise((resume) => { setTimeout(resume, 0); });

  async function search() {
    searches += 1;
    const own = searches;
    const [query, seed] = [state.query.toLowerCase(), state.seed];
    if (!query) { found = null; return true; }
    const hits = new Uint8Array(rowCount());
    let began = performance.now();
    for (let chunk = 0; chunk < chunkCount(); chunk += 1) {
      const rows = await haystack(seed, chunk);
      rows.forEach((text, row) => { if (text.includes(query)) hits[chunk * index.chunkRows + row] = 1; });
      if (performance.now() - began > 12) {
        byId("status").textContent = `Searching: ${Math.round((100 * chunk) / chunkCount())} %`;
        await breathe();
        began = performance.now();
      }
      if (own !== searches) return false; // the query has changed meanwhile
    }
    found = hits;
    return true;
  }

  async function readAhead() {
    const seed = state.seed;
    for (let chunk = 0; chunk < chunkCount() && seed === state.seed; chunk += 1) {
      await new Promise((resume) => { (window.requestIdleCallback ?? setTimeout)(resume); });
      await haystack(seed, chunk);
    }
  }

  // ---- One sample
  async function drawDetail() {
    const [row, seed] = [state.row, state.seed];
    writeHash();
    if (row === null) {
      byId("detail").replaceChildren(make("p", { className: "empty", textContent: "No sample passes these filters." }));
      return;
    }
    const data = await textBlock(row);
    if (row !== state.row || seed !== state.seed) return;
    const place = row % index.chunkRows;
    const text = (at) => (at >= 0 ? data.texts[at] : null);
    const shown = state.arms.map((arm) => {
      const cell = cellPlace(arm, seed);
      return { arm, cell, text: cell < 0 ? null : text(data.responses[place][cell]), macros: data.macros[place][cell] ?? null };
    });
    const parts = [
      detailHead(row),
      make("section", { className: "prompt" }, make("h4", { textContent: "Prompt" }), make("div", { className: "text searchable", dir: "auto", tabIndex: 0, textContent: text(data.prompts[place]) })),
      shown.some((one) => one.macros) ? macroLegend(shown) : null,
      make("div", { className: shown.some((one) => isCode(one.text)) ? "cards code" : "cards", "data-count": shown.length }, ...shown.map((one) => card(one, row))),
      metricsTable(shown, row),
      verdicts(data.verdicts[place].filter((pair) => pair.seed === seed)),
    ];
    byId("detail").replaceChildren(...parts.filter((part) => part !== null));
    highlight();
  }

  // Programs need a fixed width; what is indented by a tab or four spaces is taken for one.
  const isCode = (text) => /(^|\n)(\t| {4})\S/.test(text ?? "");

  function detailHead(row) {
    const position = view.indexOf(row);
    const sample = index.rows.samples[row];
    const link = make("a", { id: "permalink", className: "button", href: toHash(), textContent: "Link to this" });
    link.addEventListener("click", (event) => {
      event.preventDefault();
      navigator.clipboard?.writeText(location.href).then(() => { link.textContent = "Copied"; }, () => {});
    });
    const button = (name, label, by) => {
      const node = make("button", { type: "button", textContent: name, "aria-label": label });
      node.addEventListener("click", () => step(by));
      return node;
    };
    return make("header", { className: "detail-head" },
      make("h3", { id: "detail-title" }, index.rows.prompts[row], sample ? ` · sample ${sample}` : ""),
      index.rows.subsets[row] ? make("span", { className: "badge", textContent: index.rows.subsets[row] }) : null,
      make("span", { className: "position", textContent: position < 0 ? "outside the filters" : `${(position + 1).toLocaleString("en-US")} of ${view.length.toLocaleString("en-US")}` }),
      make("span", { className: "buttons" }, button("‹", "Previous sample (k)", -1), button("›", "Next sample (j)", 1), link));
  }

  function card(one, row) {
    const { label, role } = index.arms[one.arm];
    const { outcome, by, size } = one.arm === state.reference ? {} : decision(one.arm)(row);
    const badge = one.arm === state.reference
      ? make("span", { className: "badge", textContent: "reference" })
      : make("span", { className: `badge ${outcome}`, textContent: `${SIGNS[outcome]} ${outcomeWords(outcome, by)}${size === null || by.startsWith("judge") ? "" : ` ${number(size, { signed: true })}`}` });
    const cell = cells.get(one.arm);
    const facts = one.text === null ? [] : [cell.tokens[row] < 0 ? "" : `${cell.tokens[row].toLocaleString("en-US")} tokens`, cell.cut[row] ? "truncated" : "", one.macros ? `${one.macros[0].length} macro actions` : ""];
    const node = make("section", { className: "card", "aria-label": label },
      make("h4", {}, ...breakable(label)),
      make("p", { className: "card-facts" }, badge, make("span", { textContent: facts.filter(Boolean).join(" · ") })));
    node.dataset.role = role;
    if (one.text === null) node.append(make("p", { className: "empty", textContent: "No response of this arm to this prompt with this seed." }));
    else if (one.macros && state.macros) node.append(...macroText(one));
    else node.append(make("div", { className: "text searchable", dir: "auto", textContent: one.text }));
    if (one.text === "") node.append(make("p", { className: "empty", textContent: "(empty response)" }));
    return node;
  }

  // ---- Macro actions: a span each, coloured by its advantage in nine steps from -limit to +limit.
  function macroText({ text, macros: [starts, tokens, advantages] }) {
    const readout = make("p", { className: "readout", "aria-live": "polite", textContent: "Point at the text, or focus it and use ← →." });
    const body = make("div", { className: "text searchable macros", dir: "auto", tabIndex: 0, role: "group", "aria-label": "Response by macro actions" });
    const spans = starts.map((start, place) => {
      const end = place + 1 < starts.length ? starts[place + 1] : text.length;
      const advantage = advantages ? advantages[place] : null;
      const limit = index.advantageScale;
      const level = advantage === null || !limit ? 0 : Math.round(4 * Math.max(-1, Math.min(1, advantage / limit)));
      const span = make("span", { className: `macro level${level}${start === end ? " no-text" : ""}`, textContent: text.slice(start, end) });
      span.dataset.place = place;
      return span;
    });
    body.append(...spans);
    let current = -1;
    const show = (place) => {
      spans[current]?.classList.remove("current");
      current = place;
      spans[place].classList.add("current");
      const worth = advantages ? `advantage ${number(advantages[place], { signed: true })}` : "no advantage: the arm has no critic";
      readout.textContent = `Macro action ${place + 1} of ${spans.length} · ${tokens[place]} ${tokens[place] === 1 ? "token" : "tokens"} · ${worth}${spans[place].textContent ? "" : " · no text of its own (end of response)"}`;
    };
    body.addEventListener("mouseover", (event) => { if (event.target.dataset.place) show(Number(event.target.dataset.place)); });
    body.addEventListener("focus", () => show(Math.max(0, current)));
    body.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      show(Math.max(0, Math.min(spans.length - 1, current + by)));
    });
    return [body, readout];
  }

  function macroLegend(shown) {
    const box = make("input", { type: "checkbox", checked: state.macros });
    box.addEventListener("change", () => toggleMacros());
    const limit = index.advantageScale;
    const known = limit && shown.some((one) => one.macros && one.macros[2]);
    const swatches = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((level) => make("span", { className: `swatch macro level${level}`, textContent: "  " }));
    return make("div", { className: "legend" },
      make("label", {}, box, " Macro actions"),
      known ? make("span", { className: "scale" }, `advantage ${number(-limit)}`, make("span", { className: "swatches", "aria-hidden": "true" }, ...swatches), `+${number(limit)}`) : null,
      known ? make("span", { className: "scale-note", textContent: "and beyond; one scale for all arms, in units of the reward. Underlined: solid above 0, dotted below." }) : null);
  }

  function toggleMacros() {
    state.macros = !state.macros;
    touched = true;
    drawDetail();
  }

  // ---- Numbers and verdicts of one sample
  function metricsTable(shown, row) {
    const present = shown.filter((one) => cells.get(one.arm));
    const rows = index.metrics.filter((metric) => present.some((one) => metric.name in cells.get(one.arm).metrics));
    const head = make("tr", {}, make("th", { scope: "col", textContent: "Metric" }), ...present.map((one) => make("th", { scope: "col", className: "number" }, ...breakable(index.arms[one.arm].label))));
    const body = rows.map((metric) => {
      const values = present.map((one) => value(one.arm, metric.name, row));
      const known = values.filter((one) => one !== null);
      const best = metric.higherIsBetter === true ? Math.max(...known) : metric.higherIsBetter === false ? Math.min(...known) : null;
      return make("tr", {}, make("th", { scope: "row", textContent: metric.title }), ...present.map((one, place) => {
        const gap = one.arm === state.reference ? null : difference(one.arm, metric.name, row);
        const isBest = best !== null && values[place] === best && known.some((other) => other !== best);
        return make("td", { className: "number" },
          make(isBest ? "strong" : "span", { textContent: values[place] === null ? "unscored" : number(values[place]) }),
          one.arm === state.reference ? null : make("small", { textContent: gap === null ? "" : number(gap, { signed: true }) }));
      }));
    });
    const note = `Small: difference to ${index.arms[state.reference].label}. Bold: best of those shown.`;
    return make("section", { className: "numbers" }, make("h4", { textContent: "Scores and metrics" }),
      make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": "Scores and metrics" },
        make("table", {}, make("thead", {}, head), make("tbody", {}, ...body))), make("p", { className: "note", textContent: note }));
  }

  function verdicts(pairs) {
    if (!index.judges.length) return null;
    const label = (name) => index.arms.find((arm) => arm.name === name)?.label ?? name;
    const blocks_ = pairs.map((pair) => {
      const judge = index.judges[pair.judge];
      const names = { arm: label(pair.arm), reference: label(pair.reference) };
      const asA = judge.judge.startsWith("labels:") ? "" : ", as A"; // how a judge's reason calls it
      const score = pair.score === null ? "unscored" : `score ${number(pair.score)} for ${names.arm}`;
      const calls = pair.calls.map(([order, status, winner, reason, model]) => {
        const first = order === "arm_first" ? names.arm : names.reference;
        const verdict = winner === null ? status.replace("_", " ") : winner === "tie" ? "tie" : `${names[winner]} wins`;
        return make("li", {}, make("strong", { textContent: verdict }), make("span", { className: "muted", textContent: ` · read first${asA}: ${first}${model ? ` · ${model}` : ""}` }),
          reason ? make("p", { className: "reason searchable", dir: "auto", textContent: reason }) : null);
      });
      return make("div", { className: "verdict" },
        make("p", {}, make("strong", { textContent: `${names.arm} against ${names.reference}` }), ` · ${score} · judge ${judge.judge} (${judge.protocol}, ${judge.order === "both" ? "both orders" : "single order"})`),
        make("ul", {}, ...calls));
    });
    if (!pairs.length) blocks_.push(make("p", { className: "empty", textContent: "No judge was asked about this sample with this seed." }));
    return make("section", { className: "verdicts" }, make("h4", { textContent: "Judge" }), ...blocks_);
  }

  // Marks the query in the shown texts without touching them.
  function highlight() {
    if (!window.Highlight || !CSS.highlights) return;
    CSS.highlights.delete("query");
    const query = state.query.toLowerCase();
    if (!query) return;
    const ranges = [];
    for (const body of document.querySelectorAll("#detail .searchable")) {
      const text = body.textContent.toLowerCase();
      if (text.length !== body.textContent.length) continue; // lower case is longer in a few alphabets
      for (let at = text.indexOf(query); at >= 0 && ranges.length < 500; at = text.indexOf(query, at + query.length)) {
        const range = new Range();
        range.setStart(...nodeAt(body, at));
        range.setEnd(...nodeAt(body, at + query.length));
        ranges.push(range);
      }
    }
    CSS.highlights.set("query", new Highlight(...ranges));
  }

  function nodeAt(body, offset) {
    const walker = document.createTreeWalker(body, NodeFilter.SHOW_TEXT);
    let left = offset;
    while (walker.nextNode()) {
      if (left <= walker.currentNode.length) return [walker.currentNode, left];
      left -= walker.currentNode.length;
    }
    return [body, body.childNodes.length];
  }

  // ---- Controls
  function fillControls() {
    const fill = (id, entries) => byId(id).replaceChildren(...entries.map(([value_, name]) => make("option", { value: value_, textContent: name })));
    const arms = index.arms.map((arm, place) => [place, arm.label]);
    fill("arm", arms);
    fill("reference", arms);
    fill("seed", state.seeds.map((seed) => [seed, seed]));
    fill("decider", deciders());
    const subsets = [...new Set(index.rows.subsets)].filter(Boolean).sort();
    fill("subset", [["", "all"], ...subsets.map((subset) => [subset, subset])]);
    byId("subset").parentNode.hidden = subsets.length < 2;
    byId("seed").parentNode.hidden = state.seeds.length < 2;
    for (const outcome of OUTCOMES) {
      const sign = SIGNS[outcome] ? `${SIGNS[outcome]} ` : "";
      byId("outcomes").append(make("label", {}, make("input", { type: "radio", name: "outcome", value: outcome }), `${sign}${outcome} `, make("span", { className: "count", id: `count-${outcome}` })));
    }
    for (const [place, label] of arms) byId("arms").append(make("label", {}, make("input", { type: "checkbox", name: "arms", value: place }), label));
  }

  function showState() {
    for (const id of ["arm", "reference", "seed", "decider", "subset", "order"]) byId(id).value = state[id];
    byId("query").value = state.query;
    for (const box of document.getElementsByName("arms")) box.checked = state.arms.includes(Number(box.value));
    for (const box of document.getElementsByName("outcome")) box.checked = box.value === state.outcome;
  }

  function readControls() {
    for (const id of ["arm", "reference", "seed"]) state[id] = Number(byId(id).value);
    for (const id of ["decider", "subset", "order"]) state[id] = byId(id).value;
    const chosen = [...document.getElementsByName("arms")].filter((box) => box.checked).map((box) => Number(box.value));
    state.arms = chosen.length ? chosen : [state.arm];
    state.outcome = [...document.getElementsByName("outcome")].find((box) => box.checked)?.value ?? "all";
  }

  // Everything anew from the state: numbers of the seed, search, decisions, list, sample.
  async function update({ keepRow = false } = {}) {
    const seed = state.seed;
    await loadSeed();
    if (seed !== state.seed || !(await search())) return;
    options.forEach((node) => node.remove());
    options.clear();
    decideAll();
    await refresh({ keepRow });
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const typing = event.target.matches?.("input[type=search], select, textarea");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const page = Math.max(1, Math.floor(byId("list").clientHeight / ROW_HEIGHT) - 1);
    const inList = { ArrowDown: () => step(1), ArrowUp: () => step(-1), PageDown: () => step(page), PageUp: () => step(-page), Home: () => select(0), End: () => select(view.length - 1) };
    const anywhere = { j: () => step(1), k: () => step(-1), m: toggleMacros, "/": () => byId("query").focus(), "?": () => byId("help").showModal() };
    const action = anywhere[event.key] ?? (event.target === byId("list") ? inList[event.key] : undefined);
    if (!action) return;
    event.preventDefault();
    action();
    if ("jk/m".includes(event.key)) byId("browser").scrollIntoView({ block: "nearest" });
  }

  async function startBrowser() {
    index = await block("index");
    if (!rowCount()) return;
    state = defaults();
    byId("browser").hidden = false;
    fillControls();
    const restore = () => {
      state = fromHash(location.hash);
      showState();
      return update({ keepRow: true });
    };
    const change = () => {
      touched = true;
      return update();
    };
    let waiting = 0;
    byId("query").addEventListener("input", (event) => {
      state.query = event.target.value.trim();
      clearTimeout(waiting);
      waiting = setTimeout(change, 120);
    });
    byId("controls").addEventListener("change", (event) => {
      if (event.target.id === "query") return;
      readControls();
      showState();
      change();
    });
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("list").addEventListener("scroll", drawList, { passive: true });
    window.addEventListener("resize", drawList);
    window.addEventListener("hashchange", () => { if (location.hash.includes("=")) restore(); });
    document.addEventListener("keydown", onKey);
    const linked = location.hash.includes("=");
    touched = linked;
    await restore();
    if (linked) byId("samples").scrollIntoView();
    readAhead();
  }

  startTheme();
  startTables();
  startBrowser().catch((error) => {
    byId("samples-error").textContent = error.message;
    byId("samples-error").hidden = false;
  });
})();
