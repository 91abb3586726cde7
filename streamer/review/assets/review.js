/* The review of finished sessions: a list, and a desk for one of them.
 *
 * Everything is asked of the server by a session's key; addresses are relative, so that the page
 * works wherever it is mounted. `#/KEY` opens a session, `#/KEY/with/KEY` beside another one.
 */

import { addLens } from "./lens.js";
import { loadList } from "./list.js";
import { $, ask, attempt, clock, colourOf, day, dot, download, make, ms, number, read, send, shorter, store, toast, words } from "./tools.js";

const SPEEDS = [0.0625, 0.125, 0.25, 0.5, 1];
const POINTS = ["onset", "apex", "offset"];
const KEPT_PICTURES = 120;
const LEAD_S = 0.15; // shown before and after an event that is played or zoomed to
const HALF_NEW_S = 0.1; // an added event reaches so far to either side until it is adjusted
const POLL_MS = 700;
const MAX_FILE = 4_000_000; // bytes; the server takes little more

// -- one session ------------------------------------------------------------------------

let desk = null; // what is open; see `open`
let timeline = null;

const route = attempt(async () => {
  const [, key, , other] = location.hash.split("/");
  if (!key) {
    close();
    $("session").hidden = true;
    $("list").hidden = false;
    $("back").hidden = true;
    document.title = "Glint review";
    await loadList();
    return;
  }
  if (!desk || desk.key !== key) {
    try {
      await open(key);
    } catch (error) {
      location.hash = "#/";
      throw error;
    }
  }
  if (other && desk && desk.key === key) await compareWith({ reference: "session", session: other });
});

const close = () => {
  if (desk) pause();
  desk = null;
  document.body.classList.remove("comparing");
};

const open = async (key) => {
  close();
  document.body.classList.add("busy"); // an hour of frames takes seconds to read
  const [session, bytes] = await Promise.all([
    read(`api/sessions/${key}`),
    ask(`api/sessions/${key}/frames`).then((response) => response.arrayBuffer()),
  ]).finally(() => document.body.classList.remove("busy"));
  const frames = unpack(bytes);
  desk = {
    key, session, frames, cursor: 0, chosen: null, draft: null, playing: false,
    pictures: new Map(), comparison: null, asked: null,
  };
  $("list").hidden = true;
  $("session").hidden = false;
  if (!timeline) {
    timeline = GlintTimeline($("timeline"), {
      spans_s: [2, 10, 30, 60], span_s: 30,
      onSelect: (span) => choose(span.event, { seek: true }),
      onSeek: (time) => seek(nearest(time)),
      onDraw: drawHandles,
    });
    $("timeline").querySelector(".gt-body").append(handles.box);
  }
  drawHead();
  drawRerun();
  drawReferences();
  drawComparison();
  $("report-link").href = `api/sessions/${key}/report`;
  $("report-link").hidden = !session.report;
  $("no-picture").textContent = session.no_pictures;
  $("picture-panel").classList.toggle("no-pictures", !session.recorded);
  if (session.recorded) [$("picture").width, $("picture").height] = [session.size.width, session.size.height];
  drawAll();
  timeline.show(begin(), Math.min(end(), begin() + 30));
  timeline.select(null);
  seek(0);
  if (session.events.length) choose(inOrder()[0].id, { seek: true });
  watchJob();
};

/** The arrays of `frames_bytes` in streamer/review/view.py. */
const unpack = (bytes) => {
  const count = bytes.byteLength / 20;
  const threshold = new Float32Array(bytes, 16 * count, count);
  const score = new Float32Array(bytes, 12 * count, count);
  const frame = new Int32Array(bytes, 8 * count, count);
  return {
    count,
    time: new Float64Array(bytes, 0, count),
    frame,
    score,
    threshold: threshold.some(Number.isNaN) ? Array.from(threshold, (v) => (Number.isNaN(v) ? null : v)) : threshold,
    measured: Uint8Array.from(score, (value) => (Number.isNaN(value) ? 0 : 1)),
    lost: Int32Array.from(frame, (value, i) => (i ? value - frame[i - 1] - 1 : 0)),
  };
};

const begin = () => (desk.frames.count ? desk.frames.time[0] : 0);
const end = () => (desk.frames.count ? desk.frames.time[desk.frames.count - 1] : 0);

/** Place of the frame nearest to a time. */
const nearest = (time) => {
  const { time: times, count } = desk.frames;
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  if (low === count) return Math.max(count - 1, 0);
  return low && time - times[low - 1] < times[low] - time ? low - 1 : low;
};

const inOrder = () => [...desk.session.events].sort((a, b) => a.onset_s - b.onset_s || a.id - b.id);
const chosenEvent = () => (desk.draft ? desk.draft : desk.session.events.find((event) => event.id === desk.chosen)) || null;
const stateOf = (event) => (event.verdict ? event.verdict : event.added ? "added" : "");

const drawAll = () => {
  drawTimeline();
  drawEvents();
  drawEditor();
  drawHistory();
};

const drawHead = () => {
  const { session } = desk;
  document.title = `${session.name} – Glint review`;
  $("back").hidden = false;
  $("title").textContent = session.place;
  $("state-pill").textContent = session.state;
  $("state-pill").className = `pill ${session.state === "finished" ? "good" : session.state === "interrupted" || session.state === "running" ? "warn" : "bad"}`;
  const causes = Object.entries(session.lost_causes).map(([cause, count]) => `${count} ${words(cause)}`).join(", ");
  const facts = [
    ["Subject", session.subject || "none given"], ["Started", day(session.started_utc)],
    ["Source", session.source_kind === "demo" ? "demo (synthetic)" : shorter(session.source)],
    ["Length", clock(session.duration_s, 1)], ["Rate", `${number(session.fps, 1)} fps${session.fps_asked ? ` of ${session.fps_asked} asked for` : ""}`],
    ["Lost", session.lost === null ? "not known" : session.lost ? `${session.lost} (${causes})` : "none", session.lost !== 0],
    ["Engines", session.engines.filter((name) => name !== "face-mesh").join(" + ")],
    ["Calibration", session.calibration, session.calibration !== "fit"],
  ];
  $("facts").replaceChildren(...facts.map(([name, value, warn]) => make("li", {}, `${name} `, make("b", { class: warn ? "warn" : null }, value))));
  const notes = [session.reason, ...session.notes.filter((note) => !session.reason.includes(note))].filter(Boolean);
  $("notes").hidden = !notes.length;
  $("notes").textContent = notes.join(" ");
};

// -- timeline ---------------------------------------------------------------------------

const spanOf = (event, lane) => ({
  id: `${lane}-${event.id}`, event: event.id, onset_s: event.onset_s, apex_s: event.apex_s ?? (event.onset_s + event.offset_s) / 2,
  offset_s: event.offset_s ?? event.onset_s, colour: event.colour ?? colourOf(event.emotion), verdict: event.rejected ? "rejected" : event.verdict ?? null,
  state: event.state ?? "closed", title: event.title,
});

const drawTimeline = () => {
  const { frames, session, comparison, draft } = desk;
  const events = session.events.map((event) => (draft && draft.id === event.id ? draft : event));
  const title = (event) => `#${event.id} ${event.kind} ${event.emotion || ""}, ${event.onset_s.toFixed(3)} to ${number(event.offset_s, 3)} s ${stateOf(event)}`.trim();
  const lane = (name, kind) => ({
    name, shade: true,
    spans: events.filter((event) => event.kind === kind).map((event) => spanOf({ ...event, title: title(event) }, "event")),
  });
  const lanes = [lane("Micro", "micro"), lane("Macro", "macro")];
  if (draft && draft.id === "new") lanes.push({ name: "New", shade: true, spans: [spanOf({ ...draft, state: "confirmed", title: "not kept yet" }, "event")] });
  if (comparison) {
    const verdict = (each) => ({ TP: "matched", FP: "false alarm", FN: "missed" })[each.verdict];
    const told = (each) => `${each.kind} ${each.emotion || ""} ${verdict(each)}${each.verdict === "TP" ? `, overlap ${each.iou.toFixed(2)}` : ""}`;
    const beside = (each, id, lane) => spanOf({
      ...each, id, verdict: null, title: told(each), colour: { TP: "hit", FP: "false", FN: "miss" }[each.verdict],
    }, lane);
    lanes.push({ name: "Found", spans: comparison.events.map((each) => beside(each, each.id, "found")) });
    lanes.push({ name: "Reference", spans: comparison.truths.map((each, at) => ({ ...beside(each, at, "truth"), event: partnerOf(each) })) });
  }
  timeline.setData({
    begin_s: begin(), end_s: end(), lanes, markers: session.markers,
    points: { time_s: frames.time, score: frames.score, threshold: frames.threshold, measured: frames.measured, lost: frames.lost },
  });
  timeline.select(desk.chosen === null ? null : `event-${desk.chosen}`);
};

/** The event that a truth was matched with; otherwise its time as something to go to. */
const partnerOf = (truth) => truth.event ?? { time_s: truth.apex_s ?? truth.onset_s };

/** Three handles over the chosen event: drag them, or move them with the arrow keys. */
const handles = { box: make("div", { class: "handles" }), nodes: {}, track: null, view: null, held: null };
for (const point of POINTS) {
  const node = make("button", { type: "button", class: `handle ${point}`, "data-name": point, "aria-label": `Move the ${point}` });
  handles.nodes[point] = node;
  handles.box.append(node);
  node.onpointerdown = (event) => {
    if (event.button) return;
    event.stopPropagation();
    node.setPointerCapture(event.pointerId);
    handles.held = point;
  };
  node.onpointermove = (event) => {
    event.stopPropagation();
    if (handles.held !== point) return;
    const rectangle = handles.track.getBoundingClientRect();
    const { begin_s: first, end_s: last } = handles.view;
    movePoint(point, nearest(first + ((event.clientX - rectangle.left) / rectangle.width) * (last - first)));
  };
  node.onpointerup = node.onpointercancel = (event) => {
    event.stopPropagation();
    if (handles.held !== point) return;
    handles.held = null;
    keepDraft();
  };
  node.onkeydown = (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const step = (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1);
    const now = chosenEvent();
    if (now) movePoint(point, nearest(now[`${point}_s`]) + step);
  };
  node.onkeyup = node.onblur = () => { if (!handles.held) keepDraft(); };
}

const drawHandles = (view, track) => {
  handles.view = view;
  handles.track = track;
  const event = desk && chosenEvent();
  const body = handles.box.parentElement.getBoundingClientRect();
  const place = track.getBoundingClientRect();
  handles.box.style.left = `${place.left - body.left}px`;
  handles.box.style.width = `${place.width}px`;
  handles.box.style.right = "auto";
  handles.box.style.bottom = `${body.bottom - place.bottom}px`;
  for (const point of POINTS) {
    const time = event && event[`${point}_s`];
    const share = event ? (time - view.begin_s) / (view.end_s - view.begin_s) : -1;
    // Three handles on a few pixels cannot be told apart: the view is zoomed in first.
    const wide = event && ((event.offset_s - event.onset_s) / (view.end_s - view.begin_s)) * place.width >= 60;
    handles.nodes[point].hidden = !wide || share < 0 || share > 1 || event.verdict === "rejected";
    handles.nodes[point].style.transform = `translateX(${(share * place.width).toFixed(1)}px)`;
  }
};

// -- cursor, picture, playing -----------------------------------------------------------

const seek = (place, { follow = true } = {}) => {
  if (!desk || !desk.frames.count) return;
  desk.cursor = Math.min(Math.max(Math.round(place), 0), desk.frames.count - 1);
  const time = desk.frames.time[desk.cursor];
  timeline.seek(time);
  const view = timeline.view();
  const span = view.end_s - view.begin_s;
  if (follow && (time < view.begin_s || time > view.end_s)) {
    const first = Math.max(begin(), time - (desk.playing ? 0.05 : 0.3) * span);
    timeline.show(first, first + span);
  }
  drawReadout();
  showPicture();
};

const drawReadout = () => {
  const { frames, cursor } = desk;
  const score = frames.measured[cursor] ? frames.score[cursor] : null;
  const limit = frames.threshold[cursor];
  const part = (name, value, style) => make("span", { class: style }, `${name} `, make("b", {}, value));
  const above = score !== null && limit !== null && score > limit;
  $("readout").replaceChildren(...(frames.count ? [
    part("frame", String(frames.frame[cursor])), part("time", clock(frames.time[cursor])),
    score === null ? make("span", { class: "warn" }, "no face measured") : part("score", score.toFixed(2), above ? "above" : null),
    part("threshold", number(limit)),
  ] : ["No frame was analysed."]));
};

const recorded = (frame) => (desk.session.recorded || []).some(([first, last]) => first <= frame && frame <= last);

/** A picture that is there or on its way; the last ones are kept. */
const pictureOf = (frame) => {
  const { pictures, key } = desk;
  if (!pictures.has(frame)) {
    const loaded = new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image); // `decode` of an image that is nowhere in the page may never end
      image.onerror = reject;
      image.src = `api/sessions/${key}/pictures/${frame}?width=1920`;
    });
    pictures.set(frame, loaded);
    pictures.get(frame).catch(() => pictures.delete(frame));
    if (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(frame);
};

/** Show the picture of the cursor's frame; while one is on its way no other is asked for. */
const showPicture = async () => {
  const here = desk;
  if (!here.session.recorded || here.loading) return;
  here.loading = true;
  try {
    let place = -1;
    while (desk === here && place !== here.cursor) {
      place = here.cursor;
      const frame = here.frames.frame[place];
      const hidden = $("blank").checked;
      if (hidden || !recorded(frame)) {
        drawPicture(null, hidden ? "The picture is hidden (B)." : "There is no picture of this frame.");
        continue;
      }
      drawPicture(await pictureOf(frame), "", frame);
      if (!here.playing) for (const next of [1, 2, -1]) {
        const near = here.frames.frame[place + next];
        if (near !== undefined && recorded(near)) pictureOf(near).catch(() => {});
      }
    }
  } catch {
    drawPicture(null, "This picture cannot be read.");
  } finally {
    here.loading = false;
  }
};

const drawPicture = (image, text, frame) => {
  const canvas = $("picture");
  const context = canvas.getContext("2d");
  if (image) {
    if (canvas.width !== image.naturalWidth) [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    context.drawImage(image, 0, 0);
    canvas.dataset.frame = frame;
  } else {
    context.clearRect(0, 0, canvas.width, canvas.height);
    delete canvas.dataset.frame;
  }
  $("no-picture").textContent = text;
};

const play = () => {
  const here = desk;
  if (!here.frames.count) return;
  const event = chosenEvent();
  const looped = $("loop").checked && event;
  const [first, last] = looped ? [event.onset_s - LEAD_S, event.offset_s + LEAD_S] : [begin(), end()];
  let from = here.frames.time[here.cursor];
  if (from < first || from >= last - 1e-6) from = first;
  here.playing = true;
  $("play").textContent = "Pause";
  let since = null;
  let speed = Number($("speed").value);
  const tick = (now) => {
    if (desk !== here || !here.playing) return;
    since ??= now;
    if (speed !== Number($("speed").value)) {
      [from, since, speed] = [here.frames.time[here.cursor], now, Number($("speed").value)];
    }
    let time = from + ((now - since) / 1000) * speed;
    if (time > last) {
      if (!$("loop").checked) {
        pause();
        return;
      }
      [from, since, time] = [first, now, first];
    }
    const place = nearest(time);
    if (place !== here.cursor) seek(place);
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
};

const pause = () => {
  desk.playing = false;
  $("play").textContent = "Play";
};

// -- events -----------------------------------------------------------------------------

const choose = (id, { seek: go = false } = {}) => {
  if (!desk) return;
  if (id !== null && typeof id === "object") {
    seek(nearest(id.time_s));
    return;
  }
  if (desk.draft && desk.draft.id !== id) desk.draft = null;
  desk.chosen = id;
  const event = chosenEvent();
  if (go && event) {
    seek(nearest(event.apex_s));
    const view = timeline.view();
    if (event.onset_s < view.begin_s || event.offset_s > view.end_s) {
      const span = view.end_s - view.begin_s;
      timeline.show(event.apex_s - span / 2, event.apex_s + span / 2);
    }
  }
  drawAll();
};

const step = (by) => {
  const events = inOrder();
  if (!events.length) return;
  const at = events.findIndex((event) => event.id === desk.chosen);
  choose(events[at < 0 ? 0 : Math.min(Math.max(at + by, 0), events.length - 1)].id, { seek: true });
};

const zoomToEvent = () => {
  const event = chosenEvent();
  if (!event) return;
  const room = Math.max(event.offset_s - event.onset_s, 2 * LEAD_S);
  timeline.show(event.onset_s - room, event.offset_s + room);
};

const drawEvents = () => {
  const { session } = desk;
  const compared = new Map((desk.comparison?.events || []).map((each) => [each.id, each]));
  $("events-summary").textContent = session.summary;
  $("events").tBodies[0].replaceChildren(...inOrder().map((event) => {
    const changes = [event.verdict, event.added && "added", event.moved && "moved", event.relabelled && `was ${event.found.emotion || "unnamed"}`].filter(Boolean).join(", ");
    const verdict = compared.get(event.id);
    const line = make("tr", { class: event.verdict === "rejected" ? "off" : null, "aria-selected": String(event.id === desk.chosen), tabIndex: -1 },
      make("td", { class: "n" }, String(event.id)), make("td", { class: "struck" }, make("span", { class: `tag ${event.kind}` }, event.kind)),
      make("td", { class: "n struck" }, clock(event.onset_s)), make("td", { class: "n struck" }, ms(event.offset_s - event.onset_s)),
      make("td", { class: "struck" }, dot(event.emotion), event.emotion || "–"), make("td", { class: "n" }, number(event.score, 1)),
      make("td", {}, verdict ? make("span", { class: verdict.verdict }, `${verdict.verdict} `) : null, changes, event.notes.length ? make("span", { title: event.notes.join("\n") }, changes ? ", note" : "note") : null));
    line.onclick = () => choose(event.id, { seek: true });
    return line;
  }));
  if (!session.events.length) {
    $("events").tBodies[0].append(make("tr", {}, make("td", { colSpan: 7, class: "soft" }, "No event was found. I adds one that was missed.")));
  }
  const selected = $("events").querySelector("[aria-selected=true]");
  if (selected) {
    const scroller = selected.closest(".scroll"); // `scrollIntoView` would move the page as well
    const [top, bottom] = [selected.offsetTop - 34, selected.offsetTop + selected.offsetHeight];
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight;
  }
};

const drawEditor = () => {
  const event = chosenEvent();
  $("event-body").hidden = !event;
  $("event-none").hidden = Boolean(event);
  $("undo").disabled = !lastEdit();
  $("redo").disabled = !lastUndo();
  if (!event) {
    $("event-title").textContent = "No event chosen";
    $("event-tags").replaceChildren();
    return;
  }
  const fresh = event.id === "new";
  $("event-title").textContent = fresh ? "New event" : `Event ${event.id}`;
  const tag = (text, style = "") => make("span", { class: `tag ${style}` }, text);
  $("event-tags").replaceChildren(...[
    tag(event.kind, event.kind), event.verdict && tag(event.verdict, event.verdict === "confirmed" ? "good" : "bad"), event.added && !fresh && tag("added"),
    event.moved && tag("moved"), event.relabelled && tag("renamed"), ...event.quality.map((flag) => tag(words(flag))),
  ].filter(Boolean));
  for (const [id, verdict] of [["confirm", "confirmed"], ["reject", "rejected"]]) {
    $(id).hidden = fresh;
    $(id).setAttribute("aria-pressed", String(event.verdict === verdict));
  }
  $("save").hidden = $("cancel").hidden = !fresh;
  drawEmotions(event);
  drawCourse(event);
  const units = Object.entries(event.action_units || {}).map(([name, share]) => `${name} ${Math.round(100 * share)} %`);
  const likely = Object.entries(event.unit_probabilities || {}).filter(([, share]) => share >= 0.5).map(([name, share]) => `${name} ${Math.round(100 * share)} %`);
  $("event-facts").textContent = [
    event.regions.length && `Moved: ${event.regions.map(words).join(", ")}.`, units.length && `Action units, intensity: ${units.join(", ")}.`,
    likely.length && `By the network, probability: ${likely.join(", ")}.`,
    event.score !== null && `Peak score ${number(event.score, 1)}.`, event.spotter && `${event.spotter}${event.recognizer ? `, ${event.recognizer}` : ""}.`,
    event.relabelled && `Found as ${event.found.emotion || "unnamed"}.`,
  ].filter(Boolean).join(" ");
  $("note-form").hidden = fresh;
  $("event-notes").replaceChildren(...event.notes.map((note) => make("li", {}, note)));
};

const drawEmotions = (event) => {
  const shares = event.probabilities || {};
  $("emotions").replaceChildren(...desk.session.emotions.map((emotion, at) => {
    const share = shares[emotion] === undefined ? null : make("span", { class: "share" }, `${Math.round(100 * shares[emotion])} %`);
    const button = make("button", { type: "button", "aria-pressed": String(event.emotion === emotion), title: at < 9 ? `Key ${at + 1}` : "" }, dot(emotion), emotion, share);
    button.onclick = () => rename(emotion);
    return button;
  }));
  const other = make("input", { placeholder: "another…", maxlength: "60", "aria-label": "Another emotion" });
  other.onkeydown = (pressed) => {
    pressed.stopPropagation();
    if (pressed.key === "Enter" && other.value.trim()) rename(other.value.trim());
    if (pressed.key === "Escape") other.blur();
  };
  $("emotions").append(other);
};

const drawCourse = (event) => {
  const rows = POINTS.map((point) => {
    const set = make("button", { type: "button", title: `Set the ${point} to the cursor (Shift + ${{ onset: "O", apex: "A", offset: "F" }[point]})` }, "set to cursor");
    set.onclick = () => { movePoint(point, desk.cursor, false); keepDraft(); };
    const go = make("button", { type: "button", title: `Go to the ${point} (${{ onset: "O", apex: "A", offset: "F" }[point]})` }, point);
    go.onclick = () => seek(nearest(event[`${point}_s`]));
    const was = event.found && event.moved ? make("span", { class: "soft" }, `found at ${clock(event.found[`${point}_s`])}`) : "";
    return make("tr", {}, make("td", {}, go), make("td", { class: "n" }, clock(event[`${point}_s`])), make("td", { class: "n soft" }, `frame ${event[`${point}_frame`]}`), make("td", {}, set), make("td", {}, was));
  });
  const length = `${ms(event.offset_s - event.onset_s)}, ${event.offset_frame - event.onset_frame + 1} frames; ${ms(event.apex_s - event.onset_s)} to the apex`;
  $("course").tBodies[0].replaceChildren(...rows, make("tr", {}, make("td", { class: "soft" }, "duration"), make("td", { colSpan: 4 }, length)));
};

// -- corrections ------------------------------------------------------------------------

const reviewer = () => {
  const who = $("who").value.trim();
  document.querySelector(".who").classList.toggle("missing", !who);
  if (!who) {
    $("who").focus();
    throw new Error("Say who reviews first: every correction bears a name.");
  }
  return who;
};

const say = attempt(async (said, done) => {
  const here = desk;
  const fresh = await send(`api/sessions/${here.key}/annotations`, { who: reviewer(), ...said });
  if (desk !== here) return;
  here.draft = null;
  Object.assign(here.session, fresh);
  if (said.action === "add") here.chosen = Math.max(...here.session.events.map((event) => event.id));
  else if (!here.session.events.some((event) => event.id === here.chosen)) here.chosen = null;
  if (here.asked) await compareWith(here.asked);
  drawReferences();
  drawAll();
  if (done) toast(done);
});

const judge = (action, verdict) => {
  const event = chosenEvent();
  if (event && event.id !== "new" && event.verdict !== verdict) say({ action, event: event.id });
};

const rename = (emotion) => {
  const event = chosenEvent();
  if (!event) return;
  if (event.id === "new") {
    desk.draft = { ...event, emotion };
    drawAll();
  } else if (event.emotion !== emotion) say({ action: "relabel", event: event.id, emotion });
};

/** Move onset, apex or offset to a frame, no further than the order of the three allows. */
const movePoint = (point, place, show = true) => {
  const event = chosenEvent();
  if (!event || event.verdict === "rejected") return;
  const { time, frame, count } = desk.frames;
  const at = Object.fromEntries(POINTS.map((name) => [name, nearest(event[`${name}_s`])]));
  const to = Math.min(Math.max(place, 0), count - 1);
  at[point] = to;
  // The apex goes along with a bound that passes it; a bound never passes the other one.
  if (point === "onset") at.onset = Math.min(to, at.offset - 1);
  if (point === "offset") at.offset = Math.max(to, at.onset + 1);
  at.apex = Math.min(Math.max(at.apex, at.onset), at.offset);
  const draft = { ...event };
  for (const name of POINTS) [draft[`${name}_s`], draft[`${name}_frame`]] = [time[at[name]], frame[at[name]]];
  draft.kind = draft.offset_s - draft.onset_s <= 0.5 ? "micro" : "macro";
  desk.draft = draft;
  if (show) seek(at[point], { follow: false });
  drawTimeline();
  drawEditor();
};

/** Write the times that were changed; a new event waits for its yes. */
const keepDraft = () => {
  const { draft } = desk || {};
  if (!draft || draft.id === "new") return;
  const before = desk.session.events.find((event) => event.id === draft.id);
  if (POINTS.every((point) => before[`${point}_frame`] === draft[`${point}_frame`])) {
    desk.draft = null;
    drawAll();
    return;
  }
  say({ action: "move", event: draft.id, frames: framesOf(draft) }).then(() => {
    if (desk && desk.draft === draft) { // it was refused
      desk.draft = null;
      drawAll();
    }
  });
};

const framesOf = (event) => Object.fromEntries(POINTS.map((point) => [point, event[`${point}_frame`]]));

const beginNew = () => {
  if (!desk.frames.count) return;
  const { cursor, frames: { time, frame, count } } = desk;
  const at = { onset: nearest(time[cursor] - HALF_NEW_S), apex: cursor, offset: Math.min(Math.max(nearest(time[cursor] + HALF_NEW_S), cursor + 1), count - 1) };
  const draft = { id: "new", kind: "micro", emotion: null, score: null, regions: [], probabilities: null, quality: [], notes: [], verdict: null, added: true, moved: false, relabelled: false };
  for (const point of POINTS) [draft[`${point}_s`], draft[`${point}_frame`]] = [time[at[point]], frame[at[point]]];
  desk.draft = draft;
  desk.chosen = "new";
  zoomToEvent();
  drawAll();
};

const saveNew = () => {
  const { draft } = desk;
  if (draft && draft.id === "new") say({ action: "add", frames: framesOf(draft), ...(draft.emotion ? { emotion: draft.emotion } : {}) }, "The event was added.");
};

const cancelNew = () => {
  if (!desk.draft) return;
  desk.draft = null;
  if (desk.chosen === "new") desk.chosen = null;
  drawAll();
};

/** My last edit that counts, and my last undo that nothing followed. */
const mine = () => desk.session.edits.filter((edit) => edit.who === $("who").value.trim());
const lastEdit = () => mine().filter((edit) => edit.action !== "undo" && !edit.undone).pop();
const lastUndo = () => {
  const edits = mine().filter((edit) => !(edit.action === "undo" && edit.undone));
  const last = edits.filter((edit) => !isRedo(edit)).pop();
  return last && last.action === "undo" ? last : undefined;
};
const isRedo = (edit) => edit.action === "undo" && desk.session.edits[edit.undoes - 1].action === "undo";

const undo = () => {
  const edit = lastEdit();
  if (edit) say({ action: "undo", line: edit.line }, `Taken back: ${told(edit)}.`);
};
const redo = () => {
  const edit = lastUndo();
  if (edit) say({ action: "undo", line: edit.line }, "Done again.");
};

const told = (edit) => {
  const what = {
    confirm: "confirmed", reject: "rejected", relabel: `named ${edit.emotion}`, note: "noted", add: "added",
    move: edit.course && `moved to ${clock(edit.course.onset_s)} – ${clock(edit.course.offset_s)}`, undo: `line ${edit.undoes} taken back`,
  }[edit.action];
  return `event ${edit.event} ${what}${edit.note ? `: ${edit.note}` : ""}`;
};

const drawHistory = () => {
  const lines = [...desk.session.edits].reverse().map((edit) =>
    make("li", { value: edit.line, class: edit.undone ? "undone" : null }, make("b", {}, told(edit)), `, ${edit.who}, ${day(edit.when_utc)}`));
  $("history").replaceChildren(...(lines.length ? lines : [make("p", {}, "Nobody has said anything yet.")]));
};

$("note-form").onsubmit = (event) => {
  event.preventDefault();
  const note = $("note").value.trim();
  const chosen = chosenEvent();
  if (!note || !chosen) return;
  say({ action: "note", event: chosen.id, note }).then(() => { $("note").value = ""; $("note").blur(); });
};

// -- comparison -------------------------------------------------------------------------

const drawReferences = attempt(async () => {
  const here = desk;
  if (!here.others) here.others = (await read("api/sessions")).sessions.filter((row) => row.key !== here.key && row.state !== "unreadable");
  if (desk !== here) return;
  const option = (value, text) => make("option", { value }, text);
  const label = (row) => `${row.place} (${row.engines.filter((name) => name !== "face-mesh").join(" + ")}${row.reviewers.length ? ", reviewed" : ""})`;
  const same = here.others.filter((row) => row.origin === here.session.origin);
  const strange = here.others.filter((row) => row.origin !== here.session.origin);
  const group = (name, rows) => (rows.length ? make("optgroup", { label: name }, ...rows.map((row) => option(`session:${row.key}`, label(row)))) : null);
  $("reference").replaceChildren(...[
    option("", "nothing"), here.session.truth && option("truth", "the truth that its source knew"),
    here.session.edits.length && option("found", "its own corrections: how far the engine was right"),
    ...otherReviewers().map((name) => option(`reviewer:${name}`, `the corrections of ${name}, beside mine`)),
    option("file", "an annotator's file (CSV, ELAN, MEGC, JSON lines)…"), group("Sessions of the same recording", same), group("Other sessions", strange),
  ].filter(Boolean));
  showAsked();
});

const otherReviewers = () => [...new Set(desk.session.edits.map((edit) => edit.who))].filter((name) => name !== $("who").value.trim());

const showAsked = () => {
  const { asked } = desk;
  const which = { session: asked?.session, reviewer: asked?.name }[asked?.reference];
  $("reference").value = !asked ? "" : which ? `${asked.reference}:${which}` : asked.reference;
  $("drop").hidden = !asked;
};

const compareWith = async (asked) => {
  const here = desk;
  const turn = here.turn = (here.turn || 0) + 1;
  const comparison = asked && await send(`api/sessions/${here.key}/comparison`, asked);
  if (desk !== here || here.turn !== turn) return; // left, or overtaken by another question
  here.asked = asked;
  here.comparison = comparison;
  pairUp(comparison);
  document.body.classList.toggle("comparing", Boolean(asked));
  showAsked();
  drawComparison();
  drawTimeline();
  drawEvents();
  if (asked) showTab("compare");
};

/** Tell each matched truth its event: pairs share kind and overlap. */
const pairUp = (comparison) => {
  for (const truth of comparison?.truths || []) {
    const event = truth.verdict === "TP" && comparison.events.find((each) => each.pair === truth.pair);
    truth.event = event ? event.id : null;
  }
};

const drawComparison = () => {
  const { comparison, asked } = desk;
  const box = $("comparison");
  if (!comparison) {
    box.replaceChildren(make("p", { class: "soft" }, "Choose what to set beside this session: matched events, false alarms and misses then stand on the timeline. One to one, same kind, intersection over union at least 0.5."));
    return;
  }
  const heads = ["", "TP", "FP", "FN", "Precision", "Recall", "F1", "FP a minute", "Onset error", "Apex error"];
  const error = (row, name) => (row[`${name}_median_s`] === null ? "–" : `${Math.round(1000 * row[`${name}_median_s`])} ms`);
  const figures = make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head, at) => make("th", { class: at ? "n" : null }, head)))),
    make("tbody", {}, ...comparison.rows.map((row) => make("tr", { "data-kind": row.kind }, make("td", {}, row.kind),
      ...[row.tp, row.fp, row.fn, number(row.precision), number(row.recall), number(row.f1), number(row.fp_per_min), error(row, "onset"), error(row, "apex")].map((text) => make("td", { class: "n" }, String(text)))))));
  const all = [...comparison.events.map((each) => ({ ...each, event: each.id })), ...comparison.truths.filter((each) => each.verdict === "FN")].sort((a, b) => a.onset_s - b.onset_s);
  const pairs = make("table", {}, make("thead", {}, make("tr", {}, ...["", "Event", "Kind", "From", "To", "Emotion", "Overlap"].map((head) => make("th", { class: ["From", "To", "Overlap"].includes(head) ? "n" : null }, head)))),
    make("tbody", {}, ...all.map((each) => {
      const truth = each.verdict === "TP" ? comparison.truths.find((one) => one.pair === each.pair) : null;
      const emotion = truth && truth.emotion && truth.emotion !== each.emotion ? `${each.emotion || "–"} (reference: ${truth.emotion})` : each.emotion || "–";
      const line = make("tr", { class: "at" }, make("td", { class: each.verdict }, each.verdict), make("td", {}, each.event ? `#${each.event}` : "–"), make("td", {}, each.kind),
        make("td", { class: "n" }, clock(each.onset_s)), make("td", { class: "n" }, clock(each.offset_s)), make("td", {}, emotion), make("td", { class: "n" }, each.verdict === "TP" ? each.iou.toFixed(2) : "–"));
      line.onclick = () => choose(each.event ?? { time_s: each.apex_s ?? each.onset_s }, { seek: true });
      return line;
    })));
  const other = asked.reference === "session" && rowOf(asked.session);
  const strange = other && other.origin !== desk.session.origin;
  box.replaceChildren(
    make("p", {}, "Reference: ", make("b", {}, comparison.source), other ? make("span", {}, " – ", make("a", { href: `#/${asked.session}/with/${desk.key}` }, "the other way round")) : ""),
    ...(strange ? [make("p", { class: "banner" }, "These sessions did not analyse the same recording: matches are by time alone.")] : []),
    make("div", { class: "scroll" }, figures),
    make("p", { class: "soft" }, "One to one, same kind, intersection over union at least 0.5. Errors are medians of the absolute error over matched pairs. One session is no measure of a method."),
    make("div", { class: "scroll tall" }, pairs));
};

const rowOf = (key) => (desk.others || []).find((row) => row.key === key);

$("reference").onchange = attempt(async () => {
  const [what, ...rest] = $("reference").value.split(":");
  const which = rest.join(":"); // a name may hold a colon
  if (what === "file") {
    showAsked();
    $("file").value = "";
    $("file").click();
  } else {
    try {
      const more = { session: { session: which }, reviewer: { name: which, who: $("who").value.trim() } }[what];
      await compareWith(what ? { reference: what, ...more } : null);
    } finally {
      showAsked();
    }
  }
});
$("file").onchange = attempt(async () => {
  const [file] = $("file").files;
  if (!file) return;
  if (file.size > MAX_FILE) throw new Error("This file is larger than 4 MB, which no annotator's file is: choose another one.");
  await compareWith({ reference: "file", name: file.name, text: await file.text() });
});
$("drop").onclick = attempt(() => compareWith(null));

// -- analysing again, report, export ----------------------------------------------------

const drawRerun = () => {
  const { session } = desk;
  const form = $("rerun").elements;
  const { choices } = session;
  form.spotter.replaceChildren(...choices.spotters.map((name) => make("option", {}, name)));
  form.recognizer.replaceChildren(...choices.recognizers.map((name) => make("option", {}, name)));
  form.spotter.value = choices.spotter;
  form.recognizer.value = choices.recognizer;
  form.threshold_factor.value = choices.threshold_factor;
  form.spotter.onchange = () => { form.threshold_factor.disabled = form.spotter.value !== "flow"; };
  form.spotter.onchange();
  for (const field of $("rerun").querySelectorAll("button, select")) field.disabled = !session.recorded;
  if (!session.recorded) form.threshold_factor.disabled = true;
  $("rerun-hint").textContent = session.recorded
    ? "The pictures are analysed in the background with this session's other settings, into a session folder beside it, and compared with what stands here. A network's threshold belongs to the network."
    : "There are no pictures to analyse again: --record keeps them.";
  $("faces-label").hidden = !session.recorded || session.source_kind === "video" || session.source_kind === "folder";
  $("job").replaceChildren();
};

$("rerun").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    const { spotter, recognizer, threshold_factor: factor } = event.target.elements;
    const changed = spotter.value === "flow" && factor.value && Number(factor.value) !== desk.session.choices.threshold_factor;
    await send(`api/sessions/${desk.key}/rerun`, { spotter: spotter.value, recognizer: recognizer.value, ...(changed ? { threshold_factor: Number(factor.value) } : {}) });
    watchJob();
  })();
};

let watching = 0;
/** Follow the analysis that runs; when this session's is done, open it beside this one. */
const watchJob = attempt(async () => {
  clearTimeout(watching);
  const { job } = await read("api/job");
  if (!desk) return;
  const before = watchJob.state;
  watchJob.state = job && `${job.number} ${job.state}`;
  drawJob(job);
  if (job && job.state === "running") watching = setTimeout(watchJob, POLL_MS);
  if (job && job.state === "done" && before === `${job.number} running`) {
    const goal = `#/${job.result}/with/${job.session}`;
    if (desk.key === job.session && !desk.draft && !desk.playing) location.hash = goal;
    else toast(`${job.name} is analysed.`, { action: { name: "Compare", run: () => { location.hash = goal; } } });
  }
});

const drawJob = (job) => {
  if (!job) return;
  const parts = [];
  if (job.state === "running") {
    const share = job.total ? `${Math.floor((100 * job.frames) / job.total)} %` : "";
    parts.push(make("p", {}, job.frames ? `Analysing into ${job.name}: ${job.frames} of ${job.total} frames, ${share}` : `Loading the engines for ${job.name}.`), make("progress", { max: job.total, value: job.frames }),
      make("button", { type: "button", onclick: attempt(async () => { await ask("api/job", { method: "DELETE" }); }) }, "Stop"));
  } else if (job.state === "failed") {
    parts.push(make("p", { class: "bad" }, `${job.name}: ${job.reason}`));
  } else {
    parts.push(make("p", {}, job.state === "done" ? `${job.name} is analysed. ` : `${job.name} was stopped; what it found so far is kept. `,
      job.result !== desk.key ? make("a", { href: `#/${job.result}/with/${job.session}` }, "Open it beside the first one") : ""));
  }
  $("job").replaceChildren(...parts);
};

$("report").onsubmit = (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  attempt(async () => {
    await send(`api/sessions/${desk.key}/report`, { faces: event.target.elements.faces.checked });
    $("report-link").hidden = false;
    toast("The report is written.");
  })().finally(() => { button.disabled = false; });
};
for (const button of $("exports").querySelectorAll("button")) {
  button.onclick = attempt(() => download(`api/export?to=${button.dataset.to}&key=${desk.key}`));
}

const showTab = (name) => {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const active = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(active));
    tab.tabIndex = active ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !active;
  }
};
for (const tab of document.querySelectorAll("[role=tab]")) {
  tab.onclick = () => showTab(tab.id.slice(4));
  tab.onkeydown = (event) => {
    const next = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    if (!next || !tab[next]) return;
    event.stopPropagation();
    tab[next].click();
    tab[next].focus();
  };
}

// -- keys and buttons -------------------------------------------------------------------

const faster = (by) => {
  const at = SPEEDS.indexOf(Number($("speed").value)) + by;
  if (SPEEDS[at]) $("speed").value = String(SPEEDS[at]);
};
const zoom = (factor) => {
  const view = timeline.view();
  const time = desk.frames.time[desk.cursor];
  timeline.show(time - (time - view.begin_s) * factor, time + (view.end_s - time) * factor);
};
const point = (name, set) => {
  const event = chosenEvent();
  if (!event) return;
  if (set) {
    movePoint(name, desk.cursor, false);
    keepDraft();
  } else seek(nearest(event[`${name}_s`]));
};

const actions = {
  play: () => (desk.playing ? pause() : play()),
  back: (shift) => { pause(); seek(desk.cursor - (shift ? 10 : 1)); },
  forward: (shift) => { pause(); seek(desk.cursor + (shift ? 10 : 1)); },
  previous: () => step(-1),
  next: () => step(1),
  confirm: () => judge("confirm", "confirmed"),
  reject: () => judge("reject", "rejected"),
  fit: zoomToEvent,
  add: beginNew,
  save: saveNew,
  cancel: cancelNew,
  undo,
  redo,
};
for (const button of document.querySelectorAll("[data-do]")) button.onclick = (event) => actions[button.dataset.do](event.shiftKey);

const keys = {
  " ": actions.play, arrowleft: actions.back, arrowright: actions.forward, arrowup: actions.previous, arrowdown: actions.next, j: actions.previous, k: actions.next,
  o: (shift) => point("onset", shift), a: (shift) => point("apex", shift), f: (shift) => point("offset", shift),
  y: actions.confirm, n: actions.reject, i: actions.add, enter: actions.save, escape: actions.cancel, z: actions.fit,
  u: (shift) => (shift ? redo() : undo()), t: () => $("note").focus(), "+": () => zoom(1 / 1.6), "=": () => zoom(1 / 1.6), "-": () => zoom(1.6),
  0: () => timeline.show(begin(), end()), ",": () => faster(-1), ".": () => faster(1),
  l: () => $("loop").click(), b: () => $("blank").click(),
  home: () => seek(0), end: () => seek(desk.frames.count - 1),
};
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.altKey) return;
  const name = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (desk && name === "z") {
      event.preventDefault();
      (event.shiftKey ? redo : undo)();
    }
    return;
  }
  if (event.key === "?") {
    $("help").showModal();
    return;
  }
  // A button that has the focus takes its own keys; a handle moves with the arrows.
  const own = event.target.closest("button, a, [role=tab]");
  if (own && ([" ", "enter"].includes(name) || (name.startsWith("arrow") && own.matches(".handle, [role=tab]")))) return;
  if (!desk) return;
  const digit = Number(event.key);
  if (digit >= 1 && desk.session.emotions[digit - 1]) {
    if (chosenEvent()) rename(desk.session.emotions[digit - 1]);
  } else if (Object.hasOwn(keys, name)) keys[name](event.shiftKey);
  else return;
  event.preventDefault();
  event.stopPropagation(); // the timeline would move its view as well
}, true);

addLens($("picture").parentElement, $("picture"), $("whole-picture"), () => desk?.session.recorded);
$("blank").onchange = () => { if (desk) showPicture(); };
$("help-open").onclick = () => $("help").showModal();
$("who").value = store.get("who") || "";
$("who").oninput = () => {
  store.set("who", $("who").value.trim());
  document.querySelector(".who").classList.remove("missing");
  if (desk) drawEditor();
};
addEventListener("hashchange", route);
addEventListener("visibilitychange", () => { if (document.hidden && desk) pause(); });
showTab("compare");
route();
