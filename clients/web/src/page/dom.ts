/** Makes elements. Texts of strangers only ever become text. */

export type Child = Node | string | null;

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const SHAPES = {
  holds: "M6 12.5l4 4 8-9",
  fails: "M7 7l10 10M17 7L7 17",
  "not checked": "M7 12h10",
  waits: "M12 6.5V12l3.5 2.5",
  warns: "M12 6.5v7M12 17v.5",
} as const;

export type Shape = keyof typeof SHAPES;

/** A picture beside a word that says the same. */
export function icon(shape: Shape): SVGElement {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const circle = document.createElementNS(namespace, "circle");
  const path = document.createElementNS(namespace, "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  for (const [name, value] of Object.entries({ cx: "12", cy: "12", r: "11" })) circle.setAttribute(name, value);
  path.setAttribute("d", SHAPES[shape]);
  svg.append(circle, path);
  return svg;
}
