// The documentation: the OpenAPI description of this very server, readable without any outside asset.

import { getJson } from "./api.js";
import { byId, h } from "./dom.js";
import { showSession } from "./session.js";

showSession();

const { paths } = await getJson("/openapi.json");
const sections = new Map();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const tag = operation.tags?.[0] ?? "other";
    if (!sections.has(tag)) sections.set(tag, h("section", {}, h("h2", {}, tag)));
    sections.get(tag).append(describe(method, path, operation));
  }
}
byId("operations").append(...sections.values());

function describe(method, path, { description, parameters = [] }) {
  const rows = parameters.flatMap((parameter) => [
    h("dt", {}, h("code", {}, parameter.name)),
    h("dd", {}, `${parameter.in}, ${typeName(parameter.schema)}${parameter.required ? ", required" : ""}`),
  ]);
  return h(
    "article",
    {},
    h("h3", {}, h("span", { className: "method" }, method.toUpperCase()), h("code", {}, path)),
    h("p", {}, ...prose(description ?? "")),
    rows.length ? h("dl", {}, ...rows) : null,
  );
}

/** Text of a docstring: lines joined to paragraphs, what stands in backticks set as code. */
function prose(text) {
  const parts = text.replace(/([^\n])\n(?!\n)/g, "$1 ").split("`");
  return parts.map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

function typeName(schema) {
  if (schema.anyOf) return schema.anyOf.filter(({ type }) => type !== "null").map(typeName).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  const bounds = [schema.minimum, schema.maximum].filter((bound) => bound !== undefined);
  const preset = schema.default === undefined || schema.default === null ? "" : `, default ${schema.default}`;
  return `${schema.type}${bounds.length ? ` ${bounds.join(" to ")}` : ""}${preset}`;
}
