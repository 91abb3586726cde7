/* The list of sessions. */

import { $, attempt, clock, day, download, make, number, read, shorter, words } from "./tools.js";

const list = { rows: [], sort: "started_utc", down: true, chosen: new Set() };

/** Look which sessions there are, and show them. */
export const loadList = attempt(async () => {
  list.rows = (await read("api/sessions")).sessions;
  drawList();
});

const searchable = (row) =>
  [row.place, row.subject, row.source, row.source_kind, row.state, row.calibration, ...(row.engines || []), ...(row.reviewers || [])].join(" ").toLowerCase();

const drawList = () => {
  const wanted = $("filter").value.trim().toLowerCase();
  const shown = list.rows.filter((row) => searchable(row).includes(wanted));
  const value = (row) => (list.sort === "events" ? row.events : row[list.sort]) ?? "";
  shown.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    return (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y))) * (list.down ? -1 : 1);
  });
  const body = $("sessions").tBodies[0];
  body.replaceChildren(...shown.flatMap(listRow));
  if (!shown.length) {
    const text = list.rows.length ? "No session matches the filter." : "There is no session in these folders. --session DIR of run_live.py writes one.";
    body.append(make("tr", {}, make("td", { class: "empty", colSpan: 12 }, text)));
  }
  const bad = list.rows.filter((row) => row.state !== "finished").length;
  $("list-count").textContent = `${list.rows.length} found${bad ? `, ${bad} of them broken or unfinished` : ""}`;
  for (const head of $("sessions").querySelectorAll("th[data-sort]")) {
    head.setAttribute("aria-sort", head.dataset.sort === list.sort ? (list.down ? "descending" : "ascending") : "none");
  }
  drawChosen();
};

const listRow = (row) => {
  const cell = (name, content, attributes = {}) => make("td", { "data-name": name, ...attributes }, content ?? "–");
  const check = make("td", { class: "check" });
  const place = make("td", { class: "place" });
  if (row.state === "unreadable") {
    place.append(make("b", {}, row.place), " ", make("span", { class: "pill bad" }, "unreadable"), make("div", { class: "reason" }, row.reason));
    place.colSpan = 11;
    return [make("tr", {}, check, place)];
  }
  check.append(make("input", {
    type: "checkbox", checked: list.chosen.has(row.key), "aria-label": `Choose ${row.place}`,
    onchange: (event) => { list.chosen[event.target.checked ? "add" : "delete"](row.key); drawChosen(); },
  }));
  place.append(make("a", { href: `#/${row.key}` }, row.place));
  if (row.state !== "finished") place.append(" ", make("span", { class: row.state === "failed" || row.state === "broken off" ? "pill bad" : "pill warn" }, row.state));
  const causes = Object.entries(row.lost_causes).map(([cause, count]) => `${words(cause)}: ${count}`).join("\n");
  const slow = row.fps_asked && row.fps < 0.9 * row.fps_asked;
  const reviewed = row.reviewers.length ? `${row.looked_at} of ${row.events} by ${row.reviewers.join(", ")}` : "no";
  const line = make("tr", { class: "open" }, check, place,
    cell("Subject", row.subject), cell("Started", day(row.started_utc)),
    cell("Source", row.source_kind === "demo" ? "demo (synthetic)" : shorter(row.source), { title: row.source }),
    cell("Length", clock(row.duration_s, 0), { class: "n" }),
    cell("fps", number(row.fps, 1), { class: slow ? "n warn" : "n", title: row.fps_asked ? `${row.fps_asked} asked for` : "" }),
    cell("Events", `${row.kinds.micro} micro, ${row.kinds.macro} macro`, { class: "n" }),
    cell("Lost", row.lost === null ? "not known" : String(row.lost), { class: row.lost ? "n bad" : row.lost === null ? "n warn" : "n", title: causes }),
    cell("Pictures", row.pictures ? "yes" : "no"),
    cell("Reviewed", reviewed), cell("Calibration", row.calibration, { class: row.calibration === "fit" ? "good" : "warn" }));
  line.onclick = (event) => {
    if (!event.target.closest("a, input, label")) location.hash = `#/${row.key}`;
  };
  if (!row.reason) return [line];
  line.classList.add("told");
  const why = make("tr", { class: "why" }, make("td", { class: "check" }), make("td", { class: "reason", colSpan: 11 }, row.reason));
  return [line, why];
};

const drawChosen = () => {
  for (const key of list.chosen) if (!list.rows.some((row) => row.key === key)) list.chosen.delete(key);
  $("export-many").hidden = !list.chosen.size;
  $("chosen-count").textContent = `${list.chosen.size} chosen`;
};

$("filter").oninput = drawList;
$("reload").onclick = loadList;
$("all").onchange = (event) => {
  for (const box of $("sessions").tBodies[0].querySelectorAll("input")) if (box.checked !== event.target.checked) box.click();
};
for (const head of document.querySelectorAll("#sessions th[data-sort]")) {
  head.onclick = () => {
    list.down = list.sort === head.dataset.sort ? !list.down : false;
    list.sort = head.dataset.sort;
    drawList();
  };
}
$("export-many").onsubmit = (event) => {
  event.preventDefault();
  const keys = [...list.chosen].map((key) => `key=${key}`).join("&");
  attempt(download)(`api/export?to=${event.target.elements.to.value}&${keys}`);
};
