/* The live page: asks the server for what is new, and keeps every panel up to date.
 *
 * Each panel is one call from the page, with the element that it fills:
 *   GlintLive.status, .picture, .engines, .marks, .instruments, .timeline, .detections
 *
 * Text from the server becomes text, never HTML. What was received stays in this page, bounded,
 * so that the timeline can be looked back at. A hidden page asks for nothing.
 */
"use strict";

globalThis.GlintLive = (() => {
  const POLL_MS = 250;
  const RETRY_MS = 1500;
  const PATIENCE_MS = 10000;
  const MAX_POINTS = 30000; // ten minutes
  const MAX_EVENTS = 200; // as many as the server can still be told about
  const EMOTIONS = ["negative", "positive", "surprise"];
  const OTHER = "other";
  const SLATE = `data:image/svg+xml,${encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><rect width="640" height="480" fill="#161a20"/><text x="320" y="246" fill="#a0a5aa" font-family="sans-serif" font-size="22" text-anchor="middle">Hidden on this screen</text></svg>')}`;
  const CAUTION = "glint-caution-1"; // another text, another number: it is shown again
  const HIDDEN_HERE = "glint-hidden-here";
  const COLOURED = new Set([...EMOTIONS, "unsure"]);

  const columns = () => ({ time_s: [], score: [], threshold: [], measured: [], lost: [] });
  const seen = { session: 0, point: 0, revision: 0, entry: 0, panel: 0 };
  const panels = [];
  let points = columns();
  let events = new Map();
  let truths = new Map();
  let markers = [];
  let about = null;
  let figures = null;
  let now_s = 0;
  let connected = null; // null: not asked yet
  let chosen = null; // id of the detection that keys act on
  let followNewest = true;
  let drawing = null; // the timeline
  let timer = null;
  let asking = false;
  let again = false;

  // -- small tools ------------------------------------------------------------------------

  /** Make an element; `data-…`, `aria-…` and others are attributes, functions are listeners. */
  const el = (tag, given = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") node.addEventListener(name, value);
      else if (name === "class") node.className = value;
      else if (name === "style") node.style.cssText = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    if (tag === "button" && !given.type) node.type = "button";
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  };

  const remembered = (name, fallback, storage = "localStorage") => {
    try {
      return globalThis[storage].getItem(name) ?? fallback;
    } catch {
      return fallback; // a browser that keeps nothing
    }
  };
  const remember = (name, value, storage = "localStorage") => {
    try {
      globalThis[storage].setItem(name, value);
    } catch {
      // the page works without
    }
  };

  let hiddenHere = remembered(HIDDEN_HERE, "false", "sessionStorage") === "true";

  const words = (name) => name.replaceAll("_", " ");
  const seconds = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
  const lasting = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(2)} s`);
  const clock = (value) => `${Math.floor(value / 60)}:${String(Math.floor(value % 60)).padStart(2, "0")}`;
  const percent = (value) => `${Math.round(value * 100)} %`;
  const duration = (event) => (event.offset_s === null ? "–" : lasting(event.offset_s - event.onset_s));
  const emotionClass = (name) => (COLOURED.has(name) ? name : OTHER);
  const dot = (name) => el("i", { class: "gl-dot", style: `background:var(--glint-${emotionClass(name)})` });

  const who = () => (remembered("glint-who", "").trim() || "operator").slice(0, 100);

  /** Show a sentence for some seconds. */
  const say = (() => {
    let box = null;
    let timeout = null;
    return (text, bad = false) => {
      if (!box) {
        box = el("div", { class: "gl-toast", role: "status" });
        document.body.append(box);
      }
      box.textContent = text;
      box.className = `gl-toast gl-shown${bad ? " gl-bad" : ""}`;
      clearTimeout(timeout);
      timeout = setTimeout(() => box.classList.remove("gl-shown"), bad ? 8000 : 2500);
    };
  })();

  const post = async (path, body, done) => {
    try {
      const answer = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
      if (answer.ok) {
        if (done) say(done);
        poll();
        return true;
      }
      const refused = await answer.json().catch(() => ({}));
      say(refused.error || `The server refused (${answer.status}).`, true);
    } catch {
      say("No connection to Glint: nothing was saved.", true);
    }
    return false;
  };

  // -- asking -----------------------------------------------------------------------------

  const poll = async () => {
    if (asking) {
      again = true;
      return;
    }
    clearTimeout(timer);
    if (document.hidden) return;
    asking = true;
    again = false;
    try {
      const answer = await fetch(`live?${new URLSearchParams(seen)}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (!answer.ok) throw new Error(String(answer.status));
      take(await answer.json());
      connected = true;
    } catch {
      connected = false;
    }
    asking = false;
    for (const update of panels) update();
    timer = setTimeout(poll, again ? 0 : connected ? POLL_MS : RETRY_MS);
  };
  document.addEventListener("visibilitychange", poll);

  const take = (news) => {
    if (news.session !== seen.session) {
      points = columns();
      events = new Map();
      truths = new Map();
      markers = [];
      chosen = null;
      followNewest = true;
      about = news.about;
    }
    for (const [name, values] of Object.entries(points)) {
      values.push(...news.points[name]);
      if (values.length > 1.1 * MAX_POINTS) values.splice(0, values.length - MAX_POINTS);
    }
    for (const event of news.events) {
      if (event.state === "withdrawn") events.delete(event.id);
      else events.set(event.id, event);
    }
    while (events.size > MAX_EVENTS) events.delete(events.keys().next().value);
    markers.push(...news.markers);
    if (news.figures) {
      figures = news.figures;
      for (const row of figures.truth?.rows ?? []) truths.set(row.id, row);
      while (truths.size > MAX_EVENTS) truths.delete(truths.keys().next().value);
    }
    now_s = news.now_s;
    for (const name of Object.keys(seen)) seen[name] = news[name];
    // One that may still be withdrawn is not put under the operator's keys.
    if (followNewest || !events.has(chosen)) chosen = newestFirst().find((event) => event.state !== "tentative")?.id ?? null;
  };

  const newestFirst = () => [...events.values()].sort((a, b) => b.id - a.id);

  // -- saying -----------------------------------------------------------------------------

  const edit = (action, more = {}, done = "") => {
    const event = events.get(chosen);
    if (!event) {
      say("Select a detection first, with the arrow keys or a click.", true);
      return Promise.resolve(false);
    }
    if (event.state !== "closed") {
      say(`#${event.id} is not over yet: wait until its offset is known.`, true);
      return Promise.resolve(false);
    }
    followNewest = false;
    return post("edits", { session: seen.session, event: event.id, action, who: who(), ...more }, done);
  };
  const labels = () => {
    const known = [...EMOTIONS];
    for (const event of events.values()) {
      for (const name of Object.keys(event.probabilities ?? {})) if (!known.includes(name)) known.push(name);
    }
    return [...known.slice(0, 8), OTHER];
  };
  const relabel = (name) => edit("relabel", { emotion: name }, `Emotion of #${chosen}: ${name}`);
  const mark = () => {
    const field = document.getElementById("glint-mark-text");
    const text = field?.value.trim() || "marker";
    if (!figures?.running) {
      say("No session is running, so there is nothing to mark.", true);
      return;
    }
    post("markers", { text, who: who() }, `Marked: ${text}`);
  };
  const neutral = () => {
    if (figures?.running) post("neutral", { who: who() }, "Measured from this face on; marked");
    else say("No session is running, so there is no face.", true);
  };
  const hide = () => post("screen", { hidden: !figures?.hidden });
  /** Hide the face from this viewer only; another tab, and whoever else looks, sees on. */
  const hideHere = () => {
    hiddenHere = !hiddenHere;
    remember(HIDDEN_HERE, String(hiddenHere), "sessionStorage");
    for (const update of panels) update();
  };
  const faceless = () => hiddenHere || Boolean(figures?.hidden);

  const choose = (id) => {
    chosen = id;
    followNewest = newestFirst()[0]?.id === id;
    for (const update of panels) update();
  };
  const step = (by) => {
    const ids = newestFirst().map((event) => event.id);
    if (!ids.length) return;
    const at = ids.indexOf(chosen);
    choose(ids[Math.min(Math.max(at < 0 ? 0 : at + by, 0), ids.length - 1)]);
    document.querySelector(`#glint-detections tr[data-id="${chosen}"]`)?.scrollIntoView({ block: "nearest" });
  };

  const KEYS = {
    ArrowUp: () => step(-1),
    ArrowDown: () => step(1),
    y: () => edit("confirm", {}, `#${chosen} confirmed`),
    n: () => edit("reject", {}, `#${chosen} rejected`),
    u: () => edit("undo", {}, `Last change of #${chosen} undone`),
    t: () => document.getElementById("glint-note")?.focus(),
    m: mark,
    z: neutral,
    b: hide,
    h: hideHere,
    " ": () => drawing && (drawing.view().following ? drawing.pause() : drawing.follow()),
  };
  const TYPING = "input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable], [role=listbox], dialog";
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.(TYPING);
    const arrow = event.key === "ArrowUp" || event.key === "ArrowDown";
    if (typing || event.ctrlKey || event.metaKey || event.altKey || (event.repeat && !arrow)) return;
    // Elsewhere arrows scroll or move a slider, and Space presses what has the focus.
    const free = event.target === document.body;
    if ((event.key === " " && !free) || (arrow && !free && !event.target.closest("#glint-detections"))) return;
    const number = Number.parseInt(event.key, 10);
    const label = number >= 1 ? labels()[number - 1] : undefined;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = label ? () => relabel(label) : Object.hasOwn(KEYS, key) ? KEYS[key] : null;
    if (!action) return;
    event.preventDefault();
    action();
  });

  const panel = (update) => {
    panels.push(update);
    update();
    if (panels.length === 1) poll();
  };

  // -- the state of everything --------------------------------------------------------------

  const status = (element) => {
    const pills = el("span", { class: "gl-pills" });
    const time = el("span", { class: "gl-time", title: "Stream time" });
    const source = el("p", { class: "gl-source" });
    const caution = el("p", { class: "gl-caution" }, "Micro-expressions do not prove lying: they show movement, not its cause.");
    const banners = el("div", { class: "gl-banners" });
    element.replaceChildren(
      el("header", { class: "gl-status" }, el("h1", {}, "Glint"), pills, source, caution),
      banners,
    );
    const dismissed = new Set(); // warnings that this viewer has read
    let shown = "";
    panel(() => {
      const lost = connected === false;
      const state = lost ? { tone: "bad", text: "No connection" } : figures?.state ?? { tone: "idle", text: "Connecting" };
      const storage = figures?.storage ?? {};
      const made = [el("span", { class: `gl-pill gl-${state.tone}`, role: "status" }, state.text), time];
      time.textContent = figures ? clock(now_s) : "";
      if (figures?.running || storage.stored) {
        made.push(el("span", { class: `gl-pill gl-${storage.stored ? "good" : "idle"}`, id: "glint-storage" },
          storage.stored ? `Stored: ${storage.folder}${storage.subject ? `, subject ${storage.subject}` : ""}${storage.from_s === null ? "" : `, from ${clock(storage.from_s)} on`}` : "Not stored"));
      }
      if (figures?.recording) made.push(el("span", { class: "gl-pill gl-rec" }, "Recording pictures"));
      if (figures?.hidden) made.push(el("span", { class: "gl-pill gl-warn", id: "glint-hidden" }, "Hidden on every screen (B)"));
      if (hiddenHere) made.push(el("span", { class: "gl-pill gl-warn", id: "glint-hidden-here" }, "Hidden on this screen (H)"));
      const notes = (figures?.banners ?? []).filter((note) => note.tone === "bad" || !dismissed.has(note.text));
      const now = JSON.stringify([state, storage, figures?.recording, figures?.hidden, hiddenHere, notes, about?.source]);
      gate("glint-start", figures?.running);
      gate("glint-stop", !figures?.running);
      gate("glint-demo", figures?.running && storage.stored);
      gate("glint-store-now", !figures?.running || storage.stored);
      if (now === shown) return;
      shown = now;
      pills.replaceChildren(...made);
      source.textContent = about?.source ?? "No session yet.";
      banners.replaceChildren(...notes.map((note) =>
        el("p", { class: `gl-banner gl-${note.tone}`, role: note.tone === "bad" ? "alert" : null }, el("span", {}, note.text),
          note.tone === "bad" ? null : el("button", { title: "Read", "aria-label": "Dismiss", click: (event) => {
            dismissed.add(note.text);
            event.currentTarget.closest("p").remove();
          } }, "×"))));
    });
    warnOnce();
  };

  const gate = (id, closed) => {
    const button = document.getElementById(id);
    if (button) button.disabled = Boolean(closed);
  };

  /** The short form of what this measurement cannot say, once for every visitor. */
  const warnOnce = () => {
    if (remembered(CAUTION, "") === "read") return;
    const dialog = el("dialog", { class: "gl-caution-box", "aria-labelledby": "glint-caution-title" },
      el("h2", { id: "glint-caution-title" }, "Before you look"),
      el("p", {}, "Glint marks short movements of a face. A micro-expression is not proof of lying: it shows that something moved, not why, and not what a person thinks or feels."),
      el("p", {}, "Marks can be wrong, and movements can be missed. Base no decision about a person on them. The European Union prohibits inferring emotions at work and in schools, medical and safety reasons excepted."),
      el("p", {}, "Film only people who have consented. Key B hides the face on every screen, key H on this one."),
      el("button", { class: "gl-main", click: () => { remember(CAUTION, "read"); dialog.close(); dialog.remove(); } }, "I understand"));
    document.body.append(dialog);
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  };

  // -- the picture ------------------------------------------------------------------------

  const picture = (element, path, magnification) => {
    const image = el("img", { alt: "Live picture", width: 640, height: 480 });
    const chosenLayers = new Set(remembered("glint-overlay", "box,landmarks,arrows").split(",").filter(Boolean));
    let asked = null;
    const show = () => {
      asked = document.hidden || hiddenHere ? null : [...chosenLayers].join();
      image.src = asked === null ? SLATE : `${path}?overlay=${asked}&t=${Date.now()}`;
      image.alt = hiddenHere ? "The picture is hidden on this screen" : "Live picture";
    };
    const buttons = [["box", "Box"], ["landmarks", "Landmarks"], ["arrows", "Arrows"], ["heat", "Heat"]].map(([name, text]) =>
      el("button", { "data-layer": name, "aria-pressed": String(chosenLayers.has(name)), click: () => {
        if (!chosenLayers.delete(name)) {
          if (name === "arrows") chosenLayers.delete("heat");
          if (name === "heat") chosenLayers.delete("arrows");
          chosenLayers.add(name);
        }
        for (const button of buttons) button.setAttribute("aria-pressed", String(chosenLayers.has(button.dataset.layer)));
        remember("glint-overlay", [...chosenLayers].join());
        show();
      } }, text));
    const here = el("button", { id: "glint-hide-here", click: hideHere, title: "Hides the face on this screen only (H)" });
    const blank = el("button", { id: "glint-hide", click: hide, title: "Hides the face from everybody who looks, until somebody shows it again (B)" });
    const note = el("span", { class: "gl-note" });
    element.replaceChildren(el("figure", { class: "gl-picture" }, image,
      el("figcaption", {}, el("span", { class: "gl-group", role: "group", "aria-label": "Overlay" }, ...buttons),
        el("span", { class: "gl-group gl-blank", role: "group", "aria-label": "Hide the face" }, here, blank), note)));
    document.addEventListener("visibilitychange", show);
    image.addEventListener("error", () => { if (asked !== null) setTimeout(show, 1000); });
    show();
    panel(() => {
      if (!document.hidden && hiddenHere === (asked !== null)) show();
      here.textContent = hiddenHere ? "Show here (H)" : "Hide here (H)";
      here.setAttribute("aria-pressed", String(hiddenHere));
      blank.textContent = figures?.hidden ? "Show to all (B)" : "Hide from all (B)";
      blank.setAttribute("aria-pressed", String(Boolean(figures?.hidden)));
      note.textContent = chosenLayers.has("arrows") ? `Arrows: motion, ${magnification} times enlarged` : chosenLayers.has("heat") ? "Heat: how far each region has moved" : "";
    });
  };

  /** The row with the markers, the operator's name and the export. */
  const marks = (element) => {
    const text = el("input", { id: "glint-mark-text", placeholder: "Marker text", maxlength: 80, "aria-label": "Marker text" });
    text.addEventListener("keydown", (event) => { if (event.key === "Enter") mark(); });
    const name = el("input", { id: "glint-who", value: remembered("glint-who", ""), placeholder: "Your initials", maxlength: 100, "aria-label": "Your initials, for notes and markers" });
    name.addEventListener("change", () => remember("glint-who", name.value));
    const set = el("button", { id: "glint-mark", click: mark }, "Mark (M)");
    const rest = el("button", { id: "glint-take-neutral", click: neutral, title: "The subject rests now: measure from this face on. The press is kept as a marker." }, "Neutral face (Z)");
    const out = el("a", { id: "glint-export", class: "gl-button", href: "export.zip", download: "" }, "Export");
    const review = el("a", { id: "glint-review", class: "gl-button", href: "review/", target: "_blank", title: "Look through the sessions of this page when they have ended" }, "Review");
    element.replaceChildren(el("div", { class: "gl-marks" }, set, text, name, rest, out, review));
    panel(() => {
      set.disabled = rest.disabled = !figures?.running;
      const stored = Boolean(figures?.storage.stored);
      review.hidden = !stored;
      out.setAttribute("aria-disabled", String(!stored));
      if (stored) out.setAttribute("href", "export.zip");
      else out.removeAttribute("href");
      out.title = stored ? "The session as a zip file: its tables, and ELAN, MEGC, OpenFace, Parquet; no pictures" : "Nothing is stored";
    });
  };

  // -- instruments --------------------------------------------------------------------------

  const instruments = (element) => {
    const tiles = el("dl", { class: "gl-tiles" });
    element.replaceChildren(tiles);
    let shown = "";
    panel(() => {
      const now = JSON.stringify(figures?.tiles);
      if (now === shown) return;
      shown = now;
      tiles.replaceChildren(...(figures?.tiles ?? []).map((tile) =>
          el("div", { class: `gl-tile${tile.tone ? ` gl-${tile.tone}` : ""}` }, el("dt", {}, tile.name),
            el("dd", {}, el("b", {}, tile.value), tile.unit ? el("span", {}, ` ${tile.unit}`) : null),
            el("dd", { class: "gl-note", title: tile.note }, tile.note))));
    });
  };

  /** What runs, where its time goes, and under whose consent. */
  const engines = (element) => {
    const stages = el("tbody");
    const list = el("div");
    const consent = el("p");
    element.replaceChildren(el("div", { class: "gl-engines" }, list,
      el("details", { class: "gl-more" }, el("summary", {}, "Time spent in each stage"),
        el("table", {}, el("thead", {}, el("tr", {}, ...["Stage", "Median", "99 %", "Longest"].map((t) => el("th", {}, t)))), stages)),
      consent));
    let shown = "";
    let told;
    panel(() => {
      const now = JSON.stringify([figures?.stages, figures?.storage]);
      if (now !== shown) {
        shown = now;
        stages.replaceChildren(...(figures?.stages ?? []).map((stage) =>
          el("tr", {}, el("td", {}, stage.name), ...[stage.p50, stage.p99, stage.max].map((ms) =>
            el("td", { class: "gl-number" }, `${ms.toFixed(2)} ms`)))));
        consent.textContent = figures?.storage.consent ? `Consent: ${figures.storage.consent}` : "";
      }
      if (about !== told) {
        told = about;
        list.replaceChildren(...(about?.engines ?? []).map((engine) => {
          const line = [el("span", {}, engine.role), el("b", {}, engine.name + (engine.backend ? ` on ${engine.backend}` : "")),
            engine.fallback ? el("em", {}, engine.fallback) : null];
          return engine.manifest === null ? el("p", {}, ...line)
            : el("details", {}, el("summary", {}, ...line, el("span", { class: "gl-link" }, "manifest")), el("pre", {}, engine.manifest));
        }));
      }
    });
  };

  // -- timeline -----------------------------------------------------------------------------

  const timeline = (element) => {
    const plot = el("div");
    element.replaceChildren(el("section", { class: "gl-card", "aria-label": "Timeline" },
      el("div", { class: "gl-heading" }, el("h2", {}, "Timeline"),
        el("ul", { class: "gl-legend" },
          el("li", {}, el("i", { class: "gl-key-line" }), "score"),
          el("li", {}, el("i", { class: "gl-key-threshold" }), "threshold"),
          ...[...EMOTIONS, "unsure", OTHER].map((name) => el("li", {}, dot(name), name)),
          el("li", {}, el("i", { class: "gl-key-open" }), "not final"),
          el("li", {}, el("i", { class: "gl-key-blind" }), "not measured"),
          el("li", {}, el("i", { class: "gl-key-lost" }), "frames lost"),
          el("li", {}, el("i", { class: "gl-key-mark" }), "marker"))),
      plot));
    drawing = GlintTimeline(plot, { follow: true, onSelect: (span, lane) => {
      if (lane.name !== "Truth") choose(Number(span.id));
    } });
    let session = 0;
    panel(() => {
      if (session !== seen.session) {
        session = seen.session;
        drawing.follow();
      }
      const spans = (kind) => [...events.values()].filter((event) => laneOf(event) === kind).map((event) => ({
        ...event, id: event.id, title: titleOf(event),
      }));
      const lanes = [{ name: "Micro", spans: spans("micro"), shade: true }, { name: "Macro", spans: spans("macro"), shade: true }];
      if (about?.truth) lanes.push({ name: "Truth", spans: [...truths.values()].map((row) => ({
        ...row, title: `Truth: ${row.kind} ${row.emotion ?? ""} ${row.action_units}, ${seconds(row.onset_s)} to ${seconds(row.offset_s)} s${typeof row.found === "number" ? `, found as #${row.found}` : row.found ? `, ${row.found}` : ""}`,
      })) });
      drawing.setData({ begin_s: points.time_s[0] ?? 0, end_s: now_s, points, lanes, markers });
      drawing.select(chosen);
    });
  };

  /** Until its offset is known, a detection is shown as what it has lasted for. */
  const laneOf = (event) => event.kind ?? ((event.offset_s ?? now_s) - event.onset_s <= 0.5 ? "micro" : "macro");
  const titleOf = (event) => {
    const state = event.state === "closed" ? "" : `, ${event.state}`;
    return `#${event.id} ${laneOf(event)}${event.emotion ? `, ${event.emotion}` : ""}, onset ${seconds(event.onset_s)}, apex ${seconds(event.apex_s)}, offset ${seconds(event.offset_s)} s${state}${event.verdict ? `, ${event.verdict} by ${event.reviewers.join(", ")}` : ""}`;
  };

  // -- detections ---------------------------------------------------------------------------

  const detections = (element) => {
    const summary = el("p", { class: "gl-summary" });
    const faces = el("input", { type: "checkbox", id: "glint-thumbnails", change: () =>
      post("screen", { thumbnails: faces.checked }, faces.checked ? "Pictures of the next apexes are kept in memory" : "Pictures of apexes are forgotten") });
    const body = el("tbody");
    const rows = new Map();
    const detail = el("div", { class: "gl-detail", "aria-live": "off" });
    const truthSummary = el("summary");
    const truthBody = el("tbody");
    const truthBox = el("details", { class: "gl-more gl-truth" }, truthSummary,
      el("div", { class: "gl-scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...["Kind", "Emotion", "Action units", "Onset", "Apex", "Offset", "Found"].map((t) => el("th", {}, t)))), truthBody)));
    const heads = [["", "gl-face"], ["#", "gl-number"], ["Kind", ""], ["Emotion", ""], ["Onset", "gl-number"], ["Duration", "gl-number"], ["Score", "gl-number gl-wide"], ["Regions", "gl-wide gl-regions"], ["Review", ""]];
    element.replaceChildren(el("section", { class: "gl-card", "aria-label": "Detections" },
      el("div", { class: "gl-heading" }, el("h2", {}, "Detections"), summary,
        el("label", { class: "gl-switch", for: "glint-thumbnails" }, faces, "Pictures of the apex")),
      el("div", { class: "gl-two" },
        el("div", { class: "gl-scroll", tabindex: 0, "aria-label": "List of detections" },
          el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(([text, name]) => el("th", { class: name }, text)))), body)),
        detail),
      el("p", { class: "gl-keys" }, ...[["↑ ↓", "select"], ["Y", "right"], ["N", "wrong"], ["1–9", "emotion"], ["T", "note"], ["U", "undo"], ["M", "mark"], ["B", "hide the face from all"], ["H", "only here"], ["Space", "hold the timeline"]].flatMap(([key, text]) => [el("kbd", {}, key), `${text} `])),
      truthBox));
    const view = detailView(detail);
    const rowOf = (event) => el("tr", { "data-id": event.id, "data-state": event.state, "data-verdict": event.verdict, click: () => choose(event.id) },
      el("td", { class: "gl-face" }, faceOf(event, 40)),
      el("td", { class: "gl-number" }, String(event.id)),
      el("td", {}, event.kind ? el("span", { class: `gl-kind gl-${event.kind}` }, event.kind) : el("em", {}, event.state)),
      el("td", {}, ...emotionOf(event)),
      el("td", { class: "gl-number" }, seconds(event.onset_s)),
      el("td", { class: "gl-number" }, duration(event)),
      el("td", { class: "gl-number gl-wide" }, event.score === null ? "–" : event.score.toFixed(2)),
      el("td", { class: "gl-wide gl-regions", title: event.regions.map(words).join(", ") }, someRegions(event)),
      el("td", { class: "gl-review" }, ...reviewOf(event)));

    const showTruth = () => {
      truthBox.hidden = !about?.truth;
      if (!about?.truth || !figures?.truth) return;
      const text = `Truth of this source: ${figures.truth.summary}`;
      if (truthSummary.textContent !== text) truthSummary.textContent = text;
      if (!truthBox.open) return;
      truthBody.replaceChildren(...[...truths.values()].reverse().map((row) => el("tr", {},
        el("td", {}, el("span", { class: `gl-kind gl-${row.kind}` }, row.kind)), el("td", {}, dot(row.emotion), row.emotion ?? "–"),
        el("td", {}, row.action_units), ...[row.onset_s, row.apex_s, row.offset_s].map((t) => el("td", { class: "gl-number" }, seconds(t))),
        el("td", {}, typeof row.found === "number" ? `#${row.found}` : row.found ?? "…"))));
    };

    panel(() => {
      const listed = newestFirst();
      summary.textContent = figures?.summary ?? "";
      if (document.activeElement !== faces) faces.checked = figures?.thumbnails ?? true;
      const kept = new Set(listed.map((event) => event.id));
      for (const [id, row] of rows) if (!kept.has(id)) { row.node.remove(); rows.delete(id); }
      let before = null;
      for (const event of listed) {
        const text = JSON.stringify([event, faceless(), figures?.thumbnails, seen.session]);
        let row = rows.get(event.id);
        if (!row || row.text !== text) {
          const node = rowOf(event);
          if (row) row.node.replaceWith(node);
          else if (before) before.after(node);
          else body.prepend(node);
          row = { node, text };
          rows.set(event.id, row);
        }
        row.node.setAttribute("aria-selected", String(event.id === chosen));
        before = row.node;
      }
      body.querySelector(".gl-none")?.remove();
      if (!listed.length) body.append(el("tr", { class: "gl-none" }, el("td", { colspan: heads.length }, figures?.running ? "No detection yet." : "No detection.")));
      view(events.get(chosen));
      showTruth();
    });
  };

  const faceOf = (event, size) => event.picture && !faceless() && figures?.thumbnails
    ? el("img", { src: `apexes/${event.id}.jpg?s=${seen.session}&f=${event.apex_frame}`, width: size, height: size, alt: `Face at the apex of #${event.id}`, loading: "lazy" })
    : el("span", { class: "gl-noface", style: `width:${size}px;height:${size}px` });

  const explanationOf = (event) => event.explained && !faceless() && figures?.thumbnails
    ? el("figure", { class: "gl-explained" },
      el("img", { src: `apexes/${event.id}/explained.jpg?s=${seen.session}`, width: 112, height: 112, alt: `What carried the answer to #${event.id}, on the face at its apex`, loading: "lazy" }),
      el("figcaption", { class: "gl-soft" }, event.explanation?.movements ? "What carried the answer; arrows: the movement that the network saw, magnified" : "What carried the answer"))
    : null;

  const emotionOf = (event) => {
    if (!event.emotion) return ["–"];
    const [likeliest] = Object.entries(event.probabilities ?? {}).sort((a, b) => b[1] - a[1]);
    if (event.emotion === "unsure" && likeliest) return [dot("unsure"), "unsure", el("small", {}, ` ${likeliest[0]} ${percent(likeliest[1])}`)];
    const share = event.probabilities?.[event.emotion];
    const changed = event.found_emotion !== event.emotion;
    return [dot(event.emotion), event.emotion,
      changed ? el("small", {}, ` was ${event.found_emotion ?? "none"}`) : share === undefined ? null : el("small", {}, ` ${percent(share)}`)];
  };

  const someRegions = (event) => {
    const more = event.regions.length - 3;
    return event.regions.slice(0, 3).map(words).join(", ") + (more > 0 ? ` +${more}` : "");
  };

  const reviewOf = (event) => {
    const parts = [];
    if (event.verdict) parts.push(el("span", { class: `gl-verdict gl-${event.verdict}` }, event.verdict));
    if (event.notes.length) parts.push(el("span", { class: "gl-note", title: event.notes.join("\n") }, "note"));
    if (!event.verdict && event.quality.length) parts.push(el("small", { class: "gl-quality" }, event.quality.map(words).join(", ")));
    return parts;
  };

  /** The chosen detection at length, and what can be said of it. */
  const detailView = (element) => {
    let shown = "";
    let of = null;
    return (event) => {
      const text = JSON.stringify([event, faceless(), figures?.thumbnails, labels(), seen.session]);
      if (text === shown) return;
      const note = document.getElementById("glint-note");
      const typed = note && of === event?.id ? note.value : "";
      const typing = note !== null && document.activeElement === note;
      shown = text;
      of = event?.id ?? null;
      if (!event) {
        element.replaceChildren(el("p", { class: "gl-hint" }, "Detections appear here with their probabilities and regions, to be confirmed, rejected or given another emotion."));
        return;
      }
      element.replaceChildren(...detailOf(event, typed));
      if (typing) document.getElementById("glint-note").focus();
    };
  };

  const likely = (shares) => Object.fromEntries(Object.entries(shares ?? {}).filter(([, share]) => share >= 0.5));

  const bars = (title, shares, colour) => {
    const given = Object.entries(shares ?? {}).sort((a, b) => b[1] - a[1]);
    if (!given.length) return null;
    return el("dl", { class: "gl-bars" }, el("dt", { class: "gl-title" }, title), ...given.flatMap(([name, share]) => [
      el("dt", {}, name), el("dd", {}, el("i", { style: `width:${Math.min(share, 1) * 100}%;background:var(--glint-${colour(name)})` }), el("span", {}, percent(share)))]));
  };

  const detailOf = (event, typed) => {
    const field = el("input", { id: "glint-note", placeholder: "Note (T), Enter saves", maxlength: 2000, value: typed, "aria-label": "Note" });
    field.addEventListener("keydown", async (key) => {
      if (key.key === "Escape") field.blur();
      if (key.key !== "Enter" || !field.value.trim()) return;
      const said = field.value.trim();
      field.value = "";
      field.blur();
      if (!(await edit("note", { note: said }, `Noted on #${event.id}`))) field.value = said;
    });
    const open = event.state !== "closed";
    const times = event.offset_s === null ? `onset ${seconds(event.onset_s)} s` : `${seconds(event.onset_s)} – ${seconds(event.apex_s)} – ${seconds(event.offset_s)} s, ${duration(event)}`;
    return [
      el("div", { class: "gl-who" }, faceOf(event, 112), explanationOf(event),
        el("div", {}, el("h3", {}, `#${event.id} `, el("span", { class: `gl-kind gl-${event.kind ?? "open"}` }, event.kind ?? event.state)),
          el("p", { class: "gl-emotion" }, ...emotionOf(event)),
          el("p", {}, times, event.score === null ? "" : `, score ${event.score.toFixed(2)}`),
          el("p", { class: "gl-soft" }, event.regions.map(words).join(", ")),
          event.quality.length ? el("p", { class: "gl-quality" }, event.quality.map(words).join(", ")) : null)),
      el("div", { class: "gl-shares" }, bars("Probabilities", event.probabilities, emotionClass), bars("Action units, intensity", event.action_units, () => "score"), bars("Action units, probability by the network", likely(event.unit_probabilities), () => "score")),
      el("div", { class: "gl-actions" },
        el("button", { "data-action": "confirm", disabled: open, "aria-pressed": String(event.verdict === "confirmed"), click: KEYS.y }, "Right (Y)"),
        el("button", { "data-action": "reject", disabled: open, "aria-pressed": String(event.verdict === "rejected"), click: KEYS.n }, "Wrong (N)"),
        el("button", { "data-action": "undo", disabled: !event.reviewers.length, click: KEYS.u }, "Undo (U)")),
      el("div", { class: "gl-actions", role: "group", "aria-label": "Emotion" }, ...labels().map((name, index) =>
        el("button", { "data-emotion": name, disabled: open, "aria-pressed": String(event.emotion === name), click: () => relabel(name) }, dot(name), `${name} (${index + 1})`))),
      field,
      ...event.notes.map((each) => el("p", { class: "gl-said" }, each)),
      figures?.storage.stored ? null : el("p", { class: "gl-soft" }, "The session is not stored: what is said here ends with it."),
    ].filter(Boolean);
  };

  return { status, picture, engines, marks, instruments, timeline, detections };
})();
