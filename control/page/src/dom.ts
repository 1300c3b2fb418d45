// Elements, without a framework.

type Child = Node | string | null | undefined | false;

/** An element with properties and children; texts are texts, never HTML. */
export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<Omit<HTMLElementTagNameMap[K], "style">> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

/** An element of the page that is certain to be there. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`there is no #${id}`);
  return element as T;
}

/** A sentence in which `code` stands in backticks. */
export function sentence(text: string): DocumentFragment {
  const fragment = new DocumentFragment();
  text.split("`").forEach((part, index) => fragment.append(index % 2 ? h("code", {}, part) : part));
  return fragment;
}
