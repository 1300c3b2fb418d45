// Tabs as the ARIA practices want them: one stop for Tab, arrows go from one to the next.
import { byId, h } from "./dom";

export class Tabs {
  readonly #tabs: HTMLButtonElement[];

  constructor(
    list: HTMLElement,
    names: [id: string, title: string][],
    private readonly chosen: (id: string) => void,
  ) {
    this.#tabs = names.map(([id, title]) => {
      const tab = h("button", { type: "button", id: `tab-${id}`, role: "tab" }, title);
      tab.setAttribute("aria-controls", `panel-${id}`);
      tab.addEventListener("click", () => this.choose(id));
      return tab;
    });
    list.append(...this.#tabs);
    list.addEventListener("keydown", (event) => {
      const now = this.#tabs.findIndex((tab) => tab === document.activeElement);
      const last = this.#tabs.length - 1;
      const next = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now <= 0 ? last : now - 1, Home: 0, End: last }[event.key];
      const tab = next === undefined ? undefined : this.#tabs[next];
      if (!tab) return;
      event.preventDefault();
      tab.focus();
      tab.click();
    });
  }

  choose(id: string) {
    const known = this.#tabs.some((tab) => tab.id === `tab-${id}`) ? id : "decision";
    for (const tab of this.#tabs) {
      const selected = tab.id === `tab-${known}`;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      byId(tab.getAttribute("aria-controls") ?? "").hidden = !selected;
    }
    this.chosen(known);
  }

  /** A number beside the title, such as how many findings there are. */
  count(id: string, number: number, kind: string) {
    const tab = byId(`tab-${id}`);
    tab.querySelector(".count")?.remove();
    if (number > 0) tab.append(" ", h("span", { className: `count ${kind}` }, String(number)));
  }
}
