// The start page's moving parts: the members of the federation, how each is and what is wrong with it, and the newest
// queries, of which those that run are followed by their events.

const place = document.getElementById("clusters");
const queries = document.getElementById("queries");
const SHOWN = 10;
const STATUS_CLASS = { healthy: "good", unknown: "quiet" };

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(clusters) {
  const made = element("table", "");
  const head = made.createTHead().insertRow();
  for (const title of ["cluster", "environment", "signals", "worker", "status", "what is wrong"]) head.append(element("th", title));
  const body = made.createTBody();
  for (const cluster of clusters) {
    const row = body.insertRow();
    const name = element("a", cluster.name);
    name.href = `/api/v1/clusters/${encodeURIComponent(cluster.name)}/health`;
    const alive = cluster.worker.alive;
    // Why there is no worker stands in its column.
    const wrong = Object.entries(cluster.errors).filter(([entry]) => entry !== "worker");
    row.append(
      cell(name),
      element("td", cluster.environment),
      element("td", Object.keys(cluster.backends).join(", ")),
      element("td", alive ? "alive" : cluster.worker.reason, alive ? "good" : "bad"),
      element("td", cluster.status, STATUS_CLASS[cluster.status] || "bad"),
      element("td", wrong.map(([entry, words]) => `${entry}: ${words}`).join("; "), "quiet"),
    );
  }
  return made;
}

async function show() {
  const response = await fetch("/api/v1/clusters");
  const answer = await response.json();
  const shown = response.ok ? table(answer.clusters) : element("p", answer.detail, "quiet");
  place.replaceChildren(element("h2", "Clusters"), shown);
}

show().catch((error) => place.replaceChildren(element("h2", "Clusters"), element("p", String(error), "bad")));

function link(target, text) {
  const made = element("a", text);
  made.href = target;
  return made;
}

function cell(...children) {
  const made = element("td", "");
  made.append(...children);
  return made;
}

function fill(row, job) {
  const { self, result, events } = job.links;
  const ended = job.finishedMs !== null;
  row.replaceChildren(
    cell(link(self, job.queryId)),
    element("td", job.query),
    element("td", `${job.state} ${job.percent} %`, job.state === "complete" ? "good" : ended ? "bad" : "quiet"),
    cell(link(result, "result"), " ", link(events, "events")),
  );
}

function follow(row, job) {
  const source = new EventSource(job.links.events);
  const show = (event) => fill(row, JSON.parse(event.data));
  source.addEventListener("progress", show);
  source.addEventListener("end", (event) => { show(event); source.close(); });
}

async function showQueries() {
  const response = await fetch(`/api/v1/queries?limit=${SHOWN}`);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  const made = element("table", "");
  for (const job of answer.queries) {
    const row = made.insertRow();
    fill(row, job);
    if (job.finishedMs === null) follow(row, job);
  }
  queries.replaceChildren(element("h2", "Newest queries"), answer.queries.length ? made : element("p", "none yet", "quiet"));
}

showQueries().catch((error) => queries.replaceChildren(element("h2", "Newest queries"), element("p", error.message, "quiet")));
