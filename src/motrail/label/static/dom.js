/** Making elements. Text is only ever set as text, whatever a file or a class is called. */

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] `on…` are listeners, `data` and `aria` are sets of
 *   attributes, others are attributes; true is an empty one, false and null none
 * @param {...(Node|string|null)} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "aria" || name === "data") {
      for (const [part, said] of Object.entries(value)) {
        node.setAttribute(`${name}-${part}`, String(said));
      }
    } else if (name === "text") node.textContent = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/**
 * @param {string} name of a symbol in icons.svg
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/**
 * The element of the page with an id.
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);
