/* The timeline of a session: lanes of expressions over the score and its running threshold.
 *
 *   const timeline = GlintTimeline(element, {onSelect: (id) => …});
 *   timeline.setData({begin_s: 0, end_s: 60, points, lanes, markers});
 *
 * It needs no other file. Colours are the page's custom properties (--glint-score, --glint-limit,
 * --glint-negative, …) where it has them. Everything is in seconds of stream time.
 *
 * Options, all of them optional:
 *   follow     true: a live session, the view stays at the newest end until somebody looks back
 *   spans_s    lengths to choose from; default [10, 20, 30, 60]
 *   span_s     length shown first; default 30
 *   onSelect   called with (span, lane) when a span is chosen
 *   onSeek     called with a time when the score is clicked
 *   onDraw     called after each drawing with ({begin_s, end_s}, element of the score), for what a
 *              page lays over it
 *
 * Data; arrays may grow between two calls and are not copied:
 *   begin_s, end_s   what there is to look at
 *   points    {time_s, score, threshold, measured, lost}: arrays of one length, ascending in time;
 *             `measured` is 0 where there was no face, `lost` counts frames lost before the point
 *   lanes     [{name, spans, shade}]; `shade` draws its spans behind the score too
 *             span: {id, onset_s, apex_s, offset_s, colour, state, verdict, title};
 *             id: one of its own over all lanes; offset_s null: not over yet; colour: negative, positive, surprise, unsure, other,
 *             hit, miss or false; state: tentative, confirmed or closed (default);
 *             verdict: confirmed, rejected or null
 *   markers   [{time_s, text}]
 *
 * Methods: setData, select(id), seek(time_s or null) for a playhead, show(begin_s, end_s),
 *   follow(), pause(), view() → {begin_s, end_s, following}, destroy().
 *
 * Drag or the arrow keys move it, Ctrl + wheel, two fingers or + and − zoom, Space pauses.
 */
"use strict";

(() => {
  const STYLE = `
.gt { --gt-name: 54px; color: var(--glint-text, #17202b); font-size: 13px; }
.gt-bar { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; margin-bottom: 8px; }
.gt-bar button { font: inherit; min-height: 28px; padding: 2px 10px; border-radius: 6px; cursor: pointer;
  color: inherit; background: none; border: 1px solid var(--glint-line, #cfd6de); }
.gt-bar button:hover { border-color: var(--glint-soft, #5b6777); }
.gt-bar button[aria-pressed=true] { background: var(--glint-text, #17202b);
  color: var(--glint-panel, #fff); border-color: transparent; }
.gt-where { color: var(--glint-soft, #5b6777); font-variant-numeric: tabular-nums; margin-left: 4px; }
.gt-body { touch-action: pan-y; cursor: grab; user-select: none; -webkit-user-select: none;
  border-radius: 4px; }
.gt-body.gt-drag { cursor: grabbing; }
.gt-body:focus-visible { outline: 2px solid var(--glint-score, #0f766e); outline-offset: 3px; }
.gt-lane { display: flex; height: 22px; margin-bottom: 4px; }
.gt-name { flex: 0 0 var(--gt-name); color: var(--glint-soft, #5b6777); line-height: 22px;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; padding-right: 4px; }
.gt-track { position: relative; flex: 1; min-width: 0; overflow: hidden; border-radius: 3px;
  background: var(--glint-track, #f4f6f8); }
.gt-score { height: var(--gt-height, 150px); margin-bottom: 0; }
.gt-score .gt-track { border-radius: 3px 3px 0 0; border-bottom: 1px solid var(--glint-soft, #5b6777); }
.gt-score canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.gt-axis { height: 18px; margin: 0; }
.gt-axis .gt-track { background: none; }
.gt-axis .gt-track span { position: absolute; left: 0; color: var(--glint-soft, #5b6777); font-size: 12px;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.gt-span { position: absolute; left: 0; top: 1px; bottom: 1px; padding: 0; margin: 0; cursor: pointer;
  border: 1px solid var(--gt-colour); border-radius: 3px; overflow: hidden; min-width: 5px;
  background: color-mix(in srgb, var(--gt-colour) 38%, transparent); box-sizing: border-box; }
.gt-span::before { content: ""; position: absolute; inset: 0; background: var(--gt-colour);
  clip-path: polygon(0 100%, var(--gt-apex, 50%) 0, 100% 100%); }
.gt-span[data-state=tentative] { border-style: dashed; background: none; }
.gt-span[data-state=tentative]::before { display: none; }
.gt-span[data-state=confirmed] { border-style: dashed; }
.gt-span[data-state=confirmed]::before { opacity: 0.5; }
.gt-span[data-verdict=confirmed] { box-shadow: inset 0 -4px 0 var(--glint-good, #15803d); }
.gt-span[data-verdict=rejected] { border-color: var(--glint-soft, #5b6777); opacity: 0.65;
  background: repeating-linear-gradient(135deg, var(--glint-soft, #5b6777) 0 1px, transparent 1px 5px); }
.gt-span[data-verdict=rejected]::before { display: none; }
.gt-span[aria-pressed=true] { outline: 2px solid var(--glint-text, #17202b); outline-offset: -1px; }
.gt-marker { position: absolute; left: 0; top: 0; bottom: 0; width: 0; pointer-events: none;
  border-left: 2px solid var(--glint-marker, #2563eb); }
.gt-marker b { position: absolute; left: 0; top: 16px; max-width: 140px; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; padding: 0 5px; font-weight: 500; font-size: 12px;
  color: #fff; background: var(--glint-marker, #2563eb); border-radius: 0 3px 3px 0; }
.gt-line { position: absolute; left: 0; top: 0; bottom: 0; width: 0; pointer-events: none;
  border-left: 1px solid var(--glint-soft, #5b6777); }
.gt-playhead { border-left: 2px solid var(--glint-bad, #b91c1c); }
.gt-top { position: absolute; left: 6px; top: 1px; color: var(--glint-soft, #5b6777); font-size: 12px; }
.gt-readout { position: absolute; right: 6px; top: 1px; font-size: 12px; pointer-events: none;
  font-variant-numeric: tabular-nums; padding: 0 4px; border-radius: 3px;
  background: var(--glint-track, #f4f6f8); }
.gt-empty { position: absolute; inset: 40% 0 auto; text-align: center; color: var(--glint-soft, #5b6777); }
@media (max-width: 700px) { .gt { --gt-name: 46px; --gt-height: 130px; } }
`;
  const COLOURS = {
    negative: "#d1495b", positive: "#2a9d6f", surprise: "#8a63d2", unsure: "#b7791f", other: "#7a8699",
    hit: "#2a9d6f", miss: "#b45309", false: "#d1495b",
  };
  const FRAME_MS = 66; // a lab's machine captures beside the browser: no drawing at 60 Hz
  const SETTLE_MS = 160; // how fast the live end is followed
  const CLICK_PX = 4;
  const SHORTEST_S = 0.5;
  const LONGEST_GAP_S = 0.35; // the line is broken over longer stretches without a point

  /** Position of the first value that is not below `limit`. */
  const lowerBound = (values, limit) => {
    let low = 0;
    let high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < limit) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  /** The next of a few round numbers, so that an axis keeps still. */
  const roundUp = (value) => {
    if (!(value > 0)) return 1;
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 1.5, 2, 3, 5, 7.5, 10].find((s) => s * power >= value * (1 - 1e-9)) * power;
  };

  const clock = (seconds, decimals) => {
    const whole = Math.max(0, seconds);
    const minutes = Math.floor(whole / 60);
    const rest = (whole - 60 * minutes).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
    const hours = Math.floor(minutes / 60);
    return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  };

  const make = (tag, className, parent, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    if (tag === "button") node.type = "button";
    if (parent) parent.append(node);
    return node;
  };

  /** Keep one child of `parent` for each item, under its key. */
  const nodesFor = (known, items, key, build) => {
    const kept = new Set();
    for (const item of items) {
      const name = key(item);
      kept.add(name);
      if (!known.has(name)) known.set(name, build(item));
    }
    for (const [name, node] of known) {
      if (!kept.has(name)) {
        node.remove();
        known.delete(name);
      }
    }
  };

  globalThis.GlintTimeline = (element, options = {}) => {
    if (!document.getElementById("glint-timeline-style")) {
      const style = make("style", "", document.head, STYLE);
      style.id = "glint-timeline-style";
    }
    const none = { time_s: [], score: [], threshold: [], measured: [], lost: [] };
    let data = { begin_s: 0, end_s: 0, points: none, lanes: [], markers: [] };
    let span = options.span_s || 30;
    let end = 0;
    let following = Boolean(options.follow);
    let chosen = null;
    let playhead = null;
    let hovered = null;
    let waiting = 0;
    let due = 0;
    let drawnAt = 0;
    let theme = null;
    let across = 1;

    // -- the parts ------------------------------------------------------------------------
    element.classList.add("gt");
    element.replaceChildren();
    const bar = make("div", "gt-bar", element);
    const lengths = (options.spans_s || [10, 20, 30, 60]).map((seconds) => {
      const button = make("button", "", bar, `${seconds} s`);
      button.title = `Show ${seconds} seconds`;
      button.onclick = () => zoomTo(seconds);
      return { seconds, button };
    });
    const zoomOut = make("button", "", bar, "−");
    zoomOut.title = "Zoom out (−)";
    zoomOut.setAttribute("aria-label", "Zoom out");
    zoomOut.onclick = () => zoomTo(span * 1.5);
    const zoomIn = make("button", "", bar, "+");
    zoomIn.title = "Zoom in (+)";
    zoomIn.setAttribute("aria-label", "Zoom in");
    zoomIn.onclick = () => zoomTo(span / 1.5);
    const hold = make("button", "gt-hold", bar, "");
    hold.onclick = () => (following ? pause() : follow());
    hold.hidden = !options.follow;
    if (!options.follow) {
      const all = make("button", "", bar, "All");
      all.title = "Show the whole session";
      all.onclick = () => show(data.begin_s, data.end_s);
    }
    const where = make("span", "gt-where", bar);
    const body = make("div", "gt-body", element);
    body.tabIndex = 0;
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", "Timeline: arrow keys move it, plus and minus zoom, Space pauses");
    const lanesBox = make("div", "", body);
    const scoreLane = make("div", "gt-lane gt-score", body);
    make("span", "gt-name", scoreLane, "Score");
    const track = make("div", "gt-track", scoreLane);
    const canvas = make("canvas", "", track);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Score and threshold");
    const context = canvas.getContext("2d");
    const topLabel = make("span", "gt-top", track);
    const readout = make("span", "gt-readout", track);
    const empty = make("div", "gt-empty", track, "No score yet.");
    const cursor = make("div", "gt-line", track);
    const head = make("div", "gt-line gt-playhead", track);
    const axisLane = make("div", "gt-lane gt-axis", body);
    make("span", "gt-name", axisLane, "");
    const axis = make("div", "gt-track", axisLane);
    const lanes = new Map(); // name → {row, track, spans}
    const markers = new Map();
    const ticks = new Map();

    // -- the view -------------------------------------------------------------------------
    const longest = () => Math.max(data.end_s - data.begin_s, ...lengths.map((each) => each.seconds));
    const begin = () => end - span;
    const width = () => across; // measured once a drawing: asking for it costs a layout
    const toX = (time) => ((time - begin()) / span) * width();
    const toTime = (x) => begin() + (x / width()) * span;

    const clamp = () => {
      span = Math.min(Math.max(span, SHORTEST_S), Math.max(longest(), SHORTEST_S));
      const least = Math.min(data.begin_s + span, Math.max(data.end_s, data.begin_s + span));
      end = Math.min(Math.max(end, least), Math.max(data.end_s, least));
    };
    const changed = () => {
      clamp();
      request();
    };
    const zoomTo = (seconds, anchor = following ? end : begin() + span / 2) => {
      const share = (end - anchor) / span;
      span = Math.min(Math.max(seconds, SHORTEST_S), longest());
      end = anchor + share * span;
      changed();
    };
    const move = (seconds) => {
      following = false;
      end += seconds;
      changed();
    };
    const follow = () => {
      following = Boolean(options.follow);
      end = data.end_s;
      changed();
    };
    const pause = () => {
      following = false;
      request();
    };
    const show = (first, last) => {
      following = false;
      span = Math.max(last - first, SHORTEST_S);
      end = last;
      changed();
    };

    // -- drawing --------------------------------------------------------------------------
    const request = () => {
      if (waiting || due) return;
      // Asking for the next frame makes a browser paint one, whether anything is drawn or not.
      waiting = setTimeout(() => {
        waiting = 0;
        due = requestAnimationFrame(draw);
      }, Math.max(drawnAt + FRAME_MS - performance.now(), 0));
    };

    const draw = (now) => {
      due = 0;
      const passed = now - drawnAt;
      drawnAt = now;
      across = track.clientWidth || 1;
      if (following) {
        const left = data.end_s - end;
        // A jump (a new session, a hidden page) is not scrolled through.
        end = left > 3 || left < 0 ? data.end_s : end + left * -Math.expm1(-passed / SETTLE_MS);
        if (data.end_s - end > 0.004) request();
        clamp();
      }
      theme = theme || readTheme();
      drawBar();
      drawLanes();
      drawScore();
      drawMarks();
      drawAxis();
      if (options.onDraw) options.onDraw({ begin_s: begin(), end_s: end }, track);
    };

    const drawBar = () => {
      for (const { seconds, button } of lengths) {
        button.setAttribute("aria-pressed", String(Math.abs(span - seconds) < 0.01));
      }
      hold.textContent = following ? "Pause" : "Back to live";
      hold.title = following ? "Hold the view still (Space); the session goes on" : "Follow again";
      const shown = clock(Math.max(begin(), data.begin_s), 1);
      where.textContent = following ? "" : `${shown} – ${clock(end, 1)}`;
      element.dataset.following = String(following);
    };

    const drawLanes = () => {
      nodesFor(lanes, data.lanes, (lane) => lane.name, (lane) => {
        const row = make("div", "gt-lane", lanesBox);
        row.dataset.lane = lane.name;
        make("span", "gt-name", row, lane.name);
        return { row, track: make("div", "gt-track", row), spans: new Map(), remove: () => row.remove() };
      });
      for (const lane of data.lanes) drawSpans(lane, lanes.get(lane.name));
    };

    const drawSpans = (lane, { track: laneTrack, spans }) => {
      const seen = lane.spans.filter((s) => s.onset_s <= end && (s.offset_s ?? data.end_s) >= begin());
      nodesFor(spans, seen, (s) => s.id, () => make("button", "gt-span", laneTrack));
      for (const each of seen) {
        const node = spans.get(each.id);
        const last = each.offset_s ?? Math.max(data.end_s, each.onset_s);
        const wide = Math.max(((last - each.onset_s) / span) * width(), 5);
        const apex = last > each.onset_s ? (each.apex_s - each.onset_s) / (last - each.onset_s) : 0.5;
        node.style.transform = `translateX(${toX(each.onset_s).toFixed(1)}px)`;
        node.style.width = `${wide.toFixed(1)}px`;
        node.style.setProperty("--gt-colour", colourOf(each.colour));
        node.style.setProperty("--gt-apex", `${(100 * Math.min(Math.max(apex, 0), 1)).toFixed(0)}%`);
        node.dataset.id = each.id;
        node.dataset.state = each.state || "closed";
        node.dataset.verdict = each.verdict || "";
        node.title = each.title || "";
        node.setAttribute("aria-label", each.title || lane.name);
        node.setAttribute("aria-pressed", String(each.id === chosen));
        node.onclick = (event) => {
          if (dragged && event.detail) return; // the end of a drag; a key's click has no detail
          chosen = each.id;
          request();
          if (options.onSelect) options.onSelect(each, lane);
        };
      }
    };

    const colourOf = (name) => {
      const known = Object.hasOwn(COLOURS, name) ? name : "other";
      return `var(--glint-${known}, ${COLOURS[known]})`;
    };

    const readTheme = () => {
      const style = getComputedStyle(element);
      const value = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
      const colours = {};
      for (const [name, fallback] of Object.entries(COLOURS)) colours[name] = value(`--glint-${name}`, fallback);
      return {
        score: value("--glint-score", "#0f766e"),
        limit: value("--glint-limit", "#b45309"),
        line: value("--glint-line", "#dde3ea"),
        bad: value("--glint-bad", "#b91c1c"),
        colours,
      };
    };

    const drawScore = () => {
      const ratio = globalThis.devicePixelRatio || 1;
      const down = track.clientHeight || 1;
      if (canvas.width !== Math.round(across * ratio) || canvas.height !== Math.round(down * ratio)) {
        canvas.width = Math.round(across * ratio);
        canvas.height = Math.round(down * ratio);
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, across, down);
      const { time_s: times, score, threshold, measured, lost } = data.points;
      const first = Math.max(lowerBound(times, begin()) - 1, 0);
      const last = Math.min(lowerBound(times, end) + 1, times.length);
      let highest = 0;
      for (let i = first; i < last; i += 1) {
        if (measured[i]) highest = Math.max(highest, score[i] ?? 0, threshold[i] ?? 0);
      }
      const top = roundUp(highest);
      topLabel.textContent = times.length ? String(Number(top.toPrecision(3))) : "";
      empty.hidden = times.length > 0;
      const toY = (value) => Math.min(Math.max(down - (value / top) * (down - 14), 0), down);

      for (const lane of data.lanes) {
        if (!lane.shade) continue;
        for (const each of lane.spans) {
          const until = each.offset_s ?? data.end_s;
          if (until < begin() || each.onset_s > end || each.verdict === "rejected") continue;
          context.globalAlpha = each.state === "tentative" || each.state === "confirmed" ? 0.1 : 0.22;
          context.fillStyle = theme.colours[each.colour] || theme.colours.other;
          context.fillRect(toX(each.onset_s), 0, Math.max(toX(until) - toX(each.onset_s), 2), down);
        }
      }
      context.globalAlpha = 1;
      drawBlind(times, measured, first, last, down);
      drawCurve(times, score, measured, first, last, toY, down);
      drawThreshold(times, threshold, measured, first, last, toY);
      context.fillStyle = theme.bad;
      for (let i = first; i < last; i += 1) {
        if (lost[i]) context.fillRect(toX(times[i]) - 1, down - 6, 3, 6);
      }
    };

    /** Hatch where nothing was measured. */
    const drawBlind = (times, measured, first, last, down) => {
      context.strokeStyle = theme.line;
      context.lineWidth = 2;
      for (let i = first; i < last; i += 1) {
        if (measured[i]) continue;
        let until = i;
        while (until + 1 < last && !measured[until + 1]) until += 1;
        const left = Math.max(toX(times[i]), 0);
        const right = Math.max(toX(times[Math.min(until + 1, last - 1)]), left + 2);
        context.save();
        context.beginPath();
        context.rect(left, 0, right - left, down);
        context.clip();
        context.beginPath();
        for (let x = left - down - (left % 8); x < right; x += 8) {
          context.moveTo(x, down);
          context.lineTo(x + down, 0);
        }
        context.stroke();
        context.restore();
        i = until;
      }
    };

    /** Draw the score; where points lie closer than pixels, each pixel shows their extent. */
    const drawCurve = (times, score, measured, first, last, toY, down) => {
      const line = new Path2D();
      const area = new Path2D();
      let pen = null; // {x, since, time} of the run that is being drawn
      const finish = () => {
        if (!pen) return;
        area.lineTo(pen.x, down);
        area.lineTo(pen.since, down);
        pen = null;
      };
      for (let i = first; i < last; ) {
        const x = toX(times[i]);
        if (!measured[i] || score[i] === null || (pen && times[i] - pen.time > LONGEST_GAP_S)) {
          finish();
          if (!measured[i] || score[i] === null) {
            i += 1;
            continue;
          }
        }
        let low = score[i];
        let high = score[i];
        let next = i + 1;
        while (next < last && measured[next] && score[next] !== null && toX(times[next]) - x < 1) {
          low = Math.min(low, score[next]);
          high = Math.max(high, score[next]);
          next += 1;
        }
        if (!pen) {
          pen = { since: x };
          line.moveTo(x, toY(low));
          area.moveTo(x, down);
        }
        line.lineTo(x, toY(low));
        line.lineTo(x, toY(high));
        area.lineTo(x, toY(high));
        pen.x = x;
        pen.time = times[next - 1];
        i = next;
      }
      finish();
      context.fillStyle = theme.score;
      context.globalAlpha = 0.12;
      context.fill(area);
      context.globalAlpha = 1;
      context.strokeStyle = theme.score;
      context.lineWidth = 1.6;
      context.lineJoin = "round";
      context.stroke(line);
    };

    const drawThreshold = (times, threshold, measured, first, last, toY) => {
      context.strokeStyle = theme.limit;
      context.lineWidth = 1.4;
      context.setLineDash([5, 4]);
      context.beginPath();
      let before = null;
      let drawnX = -Infinity;
      for (let i = first; i < last; i += 1) {
        if (!measured[i] || threshold[i] === null) {
          before = null;
          continue;
        }
        const joined = before !== null && times[i] - before <= LONGEST_GAP_S;
        before = times[i];
        const x = toX(times[i]);
        if (joined && x - drawnX < 0.5) continue; // it changes slowly: a point a pixel is enough
        context[joined ? "lineTo" : "moveTo"](x, toY(threshold[i]));
        drawnX = x;
      }
      context.stroke();
      context.setLineDash([]);
    };

    const drawMarks = () => {
      const seen = data.markers.filter((m) => m.time_s >= begin() && m.time_s <= end);
      nodesFor(markers, seen, (m) => `${m.time_s} ${m.text}`, (m) => {
        const node = make("div", "gt-marker", track);
        make("b", "", node, m.text);
        return node;
      });
      for (const each of seen) {
        const node = markers.get(`${each.time_s} ${each.text}`);
        node.style.transform = `translateX(${toX(each.time_s).toFixed(1)}px)`;
      }
      place(head, playhead);
      place(cursor, hovered);
      readout.textContent = hovered === null ? "" : told(hovered);
    };

    const place = (node, time) => {
      node.hidden = time === null || time < begin() || time > end;
      if (!node.hidden) node.style.transform = `translateX(${toX(time).toFixed(1)}px)`;
    };

    const told = (time) => {
      const { time_s: times, score, threshold, measured } = data.points;
      const after = lowerBound(times, time);
      const before = Math.max(after - 1, 0);
      const nearest = after < times.length && times[after] - time < time - times[before] ? after : before;
      if (!times.length || Math.abs(times[nearest] - time) > LONGEST_GAP_S) return clock(time, 2);
      if (!measured[nearest]) return `${clock(time, 2)}  not measured`;
      const digits = (value) => (value === null ? "–" : value.toFixed(2));
      return `${clock(time, 2)}  score ${digits(score[nearest])}  threshold ${digits(threshold[nearest])}`;
    };

    const drawAxis = () => {
      const least = (70 / width()) * span;
      const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800].find((s) => s >= least) || 3600;
      const decimals = step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
      const times = [];
      for (let n = Math.ceil(Math.max(begin(), data.begin_s) / step); n * step <= end; n += 1) times.push(n * step);
      nodesFor(ticks, times, (time) => clock(time, decimals), (time) => make("span", "", axis, clock(time, decimals)));
      for (const time of times) {
        const node = ticks.get(clock(time, decimals));
        const at = Math.min(Math.max(toX(time), 0), width());
        const shift = at < 20 ? 0 : at > width() - 20 ? -100 : -50;
        node.style.transform = `translateX(${at.toFixed(1)}px) translateX(${shift}%)`;
      }
    };

    // -- fingers, mouse and keys ----------------------------------------------------------
    const held = new Map(); // pointer → x
    let dragged = false;
    let wasAt = 0;
    let spread = 0;

    const xOf = (event) => event.clientX - track.getBoundingClientRect().left;
    const gap = () => {
      const [one, two] = [...held.values()];
      return Math.abs(one - two);
    };
    body.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held.set(event.pointerId, xOf(event));
      dragged = false;
      wasAt = xOf(event);
      if (held.size === 2) spread = gap();
    });
    body.addEventListener("pointermove", (event) => {
      const x = xOf(event);
      hovered = x >= 0 && x <= width() ? toTime(x) : null;
      if (!held.has(event.pointerId)) {
        request();
        return;
      }
      held.set(event.pointerId, x);
      if (held.size === 2) {
        const [one, two] = [...held.values()];
        dragged = true;
        zoomTo((span * spread) / Math.max(gap(), 1), toTime((one + two) / 2));
        spread = gap();
        return;
      }
      if (!dragged && Math.abs(x - wasAt) < CLICK_PX) return;
      if (!dragged) {
        dragged = true;
        body.classList.add("gt-drag");
        body.setPointerCapture(event.pointerId);
      }
      move(-((x - wasAt) / width()) * span);
      wasAt = x;
    });
    const release = (event) => {
      if (!held.delete(event.pointerId)) return;
      body.classList.remove("gt-drag");
      const onScore = track.contains(event.target);
      if (event.type === "pointerup" && !dragged && onScore && options.onSeek) options.onSeek(toTime(xOf(event)));
    };
    body.addEventListener("pointerup", release);
    body.addEventListener("pointercancel", release);
    body.addEventListener("pointerleave", () => {
      hovered = null;
      request();
    });
    body.addEventListener("wheel", (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      if (!event.ctrlKey && !event.metaKey && !sideways) return; // the page scrolls
      event.preventDefault();
      if (sideways) move(((event.deltaX || event.deltaY) / width()) * span);
      else zoomTo(span * Math.exp(event.deltaY / 300), toTime(xOf(event)));
    }, { passive: false });
    body.addEventListener("keydown", (event) => {
      if (event.target !== body || event.ctrlKey || event.metaKey || event.altKey) return;
      const actions = {
        ArrowLeft: () => move(-span / 10),
        ArrowRight: () => move(span / 10),
        "+": () => zoomTo(span / 1.5),
        "=": () => zoomTo(span / 1.5),
        "-": () => zoomTo(span * 1.5),
        Home: () => move(-Infinity),
        End: () => (options.follow ? follow() : move(Infinity)),
        " ": () => options.follow && (following ? pause() : follow()),
      };
      if (!Object.hasOwn(actions, event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      actions[event.key]();
    });

    const resized = new ResizeObserver(request);
    resized.observe(track);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => {
      theme = null;
      request();
    };
    scheme.addEventListener("change", recolour);
    const dressed = new MutationObserver(recolour); // a page that switches its theme by a class
    for (const node of [document.documentElement, document.body]) {
      dressed.observe(node, { attributes: true, attributeFilter: ["class", "data-theme"] });
    }
    request();

    return {
      setData(fresh) {
        data = { begin_s: 0, end_s: 0, points: none, lanes: [], markers: [], ...fresh };
        if (!options.follow && end === 0) end = data.begin_s + Math.min(span, longest());
        clamp();
        request();
      },
      select(id) {
        chosen = id;
        request();
      },
      seek(time) {
        playhead = time;
        request();
      },
      show,
      follow,
      pause,
      view: () => ({ begin_s: begin(), end_s: end, following }),
      destroy() {
        clearTimeout(waiting);
        cancelAnimationFrame(due);
        resized.disconnect();
        dressed.disconnect();
        scheme.removeEventListener("change", recolour);
        element.replaceChildren();
      },
    };
  };
})();
