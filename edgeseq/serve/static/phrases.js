// The box for phrases, and what the server finds wrong with them, each where it is.

import { element } from "./transcript.js";

export class Phrases {
  constructor(box, faults) {
    this.box = box;
    this.faults = faults;
    box.addEventListener("input", () => this.showFaults([]));
  }

  get text() {
    return this.box.value.trim() === "" ? "" : this.box.value;
  }

  showExample(text) {
    this.box.value = text;
    this.showFaults([]);
  }

  /** List faults ({line, column, message}); each leads to its place. */
  showFaults(faults) {
    this.box.toggleAttribute("aria-invalid", faults.length > 0);
    const list = document.createElement("ul");
    for (const fault of faults) {
      const item = document.createElement("li");
      const button = element("button", "fault", `Line ${fault.line}, column ${fault.column}: ${fault.message}`);
      button.type = "button";
      button.addEventListener("click", () => this.#goTo(fault));
      item.append(button);
      list.append(item);
    }
    this.faults.replaceChildren(...(faults.length > 0 ? [list] : []));
  }

  showFine(text) {
    this.faults.replaceChildren(element("p", "fine", text));
  }

  #goTo({ line, column }) {
    const before = this.box.value.split("\n").slice(0, line - 1);
    const characters = [...(this.box.value.split("\n")[line - 1] ?? "")]; // columns count characters, not UTF-16 units
    const start = before.join("\n").length + (line > 1 ? 1 : 0) + characters.slice(0, column - 1).join("").length;
    this.box.focus();
    this.box.setSelectionRange(start, start + (characters[column - 1]?.length ?? 0));
  }
}
