// The start page's only moving part: the members of the federation and whether a worker serves each.

const place = document.getElementById("clusters");

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(clusters) {
  const made = element("table", "");
  const head = made.createTHead().insertRow();
  for (const title of ["cluster", "environment", "signals", "worker"]) head.append(element("th", title));
  const body = made.createTBody();
  for (const cluster of clusters) {
    const row = body.insertRow();
    const alive = cluster.worker.alive;
    row.append(
      element("td", cluster.name),
      element("td", cluster.environment),
      element("td", Object.keys(cluster.backends).join(", ")),
      element("td", alive ? "alive" : "silent", alive ? "good" : "bad"),
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
