// Draws the OpenAPI document as a page: per operation its fields, its answers, and a form that sends it.

const place = document.getElementById("operations");
const token = document.getElementById("token");

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function resolved(document_, schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((node, key) => node[key], document_);
}

function typeOf(document_, schema) {
  if (schema?.$ref) return schema.$ref.split("/").pop();
  const type = [schema?.type ?? "any"].flat().join(" or ");
  return type === "array" ? `list of ${typeOf(document_, schema.items)}` : type;
}

function fieldTable(document_, rows) {
  const made = element("table");
  for (const { name, schema, required, words } of rows) {
    const allowed = schema.enum ? ` (${schema.enum.join(" | ")})` : "";
    made.insertRow().append(
      element("td", {}, element("code", { textContent: name }), required ? " *" : ""),
      element("td", { className: "quiet", textContent: typeOf(document_, schema) + allowed }),
      element("td", { textContent: words ?? schema.description ?? "" }),
    );
  }
  return made;
}

function bodyRows(document_, schema) {
  const whole = resolved(document_, schema);
  return Object.entries(whole.properties ?? {}).map(([name, inner]) => ({
    name, schema: inner, required: whole.required?.includes(name),
  }));
}

function exampleBody(document_, schema) {
  const whole = resolved(document_, schema);
  const picked = Object.entries(whole.properties ?? {})
    .filter(([name]) => whole.required?.includes(name) || (!whole.required && name === "query"))
    .map(([name, inner]) => [name, inner.example ?? ""]);
  return JSON.stringify(Object.fromEntries(picked), null, 2);
}

function form(document_, method, path, operation) {
  const made = element("form");
  const address = element("input", { value: path, spellcheck: false, className: "wide", ariaLabel: "path" });
  made.append(address);
  const schema = operation.requestBody?.content["application/json"]?.schema;
  const body = element("textarea", { rows: 6, spellcheck: false, ariaLabel: "body" });
  if (schema) {
    body.value = exampleBody(document_, schema);
    made.append(body);
  }
  const output = element("pre", { hidden: true });
  made.append(element("button", { textContent: `Send ${method.toUpperCase()}` }), output);
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = {};
    if (token.value) headers.Authorization = `Bearer ${token.value}`;
    if (schema) headers["Content-Type"] = "application/json";
    output.hidden = false;
    output.textContent = "…";
    try {
      const response = await fetch(address.value, { method, headers, body: schema ? body.value : undefined });
      const shown = ["x-federation-coverage", "server-timing", "location", "link", "retry-after"]
        .filter((name) => response.headers.has(name))
        .map((name) => `${name}: ${response.headers.get(name)}`);
      const head = [`${response.status} ${response.statusText}`, ...shown, "", ""].join("\n");
      if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
        await pour(response.body, output, head);
      } else {
        output.textContent = head + pretty(await response.text());
      }
    } catch (error) {
      output.textContent = String(error);
    }
  });
  return made;
}

async function pour(stream, output, head) {
  output.textContent = head;
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) output.textContent += part.value;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function operationCard(document_, method, path, operation) {
  const title = element("summary", {},
    element("b", { textContent: method.toUpperCase() }), " ",
    element("code", { textContent: path }), " ",
    element("span", { className: "quiet", textContent: operation.summary ?? "" }));
  const card = element("details", {}, title);
  if (operation.description) card.append(element("p", { textContent: operation.description }));
  const parameters = (operation.parameters ?? []).map((parameter) => resolved(document_, parameter));
  if (parameters.length) {
    card.append(element("h4", { textContent: "Parameters" }), fieldTable(document_, parameters.map((p) => ({
      name: p.name, schema: p.schema ?? {}, required: p.required, words: p.description,
    }))));
  }
  const schema = operation.requestBody?.content["application/json"]?.schema;
  if (schema) card.append(element("h4", { textContent: "Body" }), fieldTable(document_, bodyRows(document_, schema)));
  card.append(element("h4", { textContent: "Answers" }));
  const answers = element("ul");
  for (const [status, raw] of Object.entries(operation.responses ?? {})) {
    answers.append(element("li", {}, element("b", { textContent: status }), ` ${resolved(document_, raw).description ?? ""}`));
  }
  card.append(answers, form(document_, method, path, operation));
  return card;
}

async function show() {
  const document_ = await (await fetch("/api/openapi.json")).json();
  place.replaceChildren();
  for (const tag of document_.tags ?? []) {
    place.append(element("h2", { textContent: tag.description || tag.name }));
    for (const [path, item] of Object.entries(document_.paths)) {
      for (const method of ["get", "post", "delete"]) {
        if (item[method]?.tags?.includes(tag.name)) place.append(operationCard(document_, method, path, item[method]));
      }
    }
  }
}

show().catch((error) => place.replaceChildren(element("p", { className: "bad", textContent: String(error) })));
