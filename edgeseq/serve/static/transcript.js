// What was said, what is being said, and what could not be heard.

const UNSURE = 0.7; // words below are marked
const MAX_SHOWN = 500; // finals; older ones stay in what is saved

export class Transcript {
  events = []; // finals and gaps

  constructor(list, saying) {
    this.list = list;
    this.saying = saying;
  }

  show(event) {
    const follows = this.#isInView();
    if (event.type === "partial") {
      this.#showPartial(event);
    } else {
      this.#showPartial(null);
      this.events.push(event);
      this.list.append(event.type === "gap" ? gapItem(event) : finalItem(event));
      while (this.list.childElementCount > MAX_SHOWN) this.list.firstElementChild.remove();
    }
    if (follows) this.#newest()?.scrollIntoView({ block: "nearest" });
  }

  clear() {
    this.events = [];
    this.list.replaceChildren();
    this.#showPartial(null);
  }

  #newest() {
    return this.saying.hidden ? this.list.lastElementChild : this.saying;
  }

  /** Whether the newest words can be seen, or are just below: who has scrolled up to read is left there. */
  #isInView() {
    const newest = this.#newest();
    return newest === null || newest.getBoundingClientRect().top < window.innerHeight;
  }

  #showPartial(event) {
    this.saying.hidden = event === null;
    const words = (event?.words ?? []).map(({ word }, i) => element("span", i < event.stable ? "stable" : "", word));
    this.saying.replaceChildren(...spaced(words));
  }
}

/** A final: its words, then when, how sure, and what was meant. */
function finalItem(event) {
  const item = document.createElement("li");
  const words = event.words.map((word) => {
    const shown = element("span", word.confidence < UNSURE ? "unsure" : "", word.word);
    shown.title = `${clock(word.start)} to ${clock(word.end)}, ${percent(word.confidence)} sure`;
    return shown;
  });
  const text = element("p", "text");
  text.append(...spaced(words));
  const about = element("p", "about");
  about.append(
    element("span", "", `${clock(event.start)} – ${clock(event.end)}`),
    element("span", "", `${percent(event.confidence)} sure`),
  );
  item.append(text, about);
  if (event.intent !== undefined) item.append(meaning(event));
  return item;
}

/** Intent and slots. */
function meaning(event) {
  const list = element("dl", "meaning");
  const add = (name, value, kind) => {
    const pair = element("div", kind);
    pair.append(element("dt", "", name), element("dd", "", String(value)));
    list.append(pair);
  };
  add("intent", event.intent, "intent");
  for (const [name, value] of Object.entries(event.slots ?? {})) add(name, value, "slot");
  return list;
}

function gapItem(event) {
  const item = element("li", "gap");
  item.append(element("p", "", `Not heard from ${clock(event.start)} to ${clock(event.end)}: ${event.reason}.`));
  return item;
}

export function element(name, kind = "", text = "") {
  const made = document.createElement(name);
  if (kind !== "") made.className = kind;
  made.textContent = text;
  return made;
}

/** 83.4 -> "1:23.4" */
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const rest = (tenths % 600) / 10;
  return `${Math.floor(tenths / 600)}:${rest < 10 ? "0" : ""}${rest.toFixed(1)}`;
}

function percent(part) {
  return `${Math.round(part * 100)}\u00a0%`;
}

function spaced(elements) {
  return elements.flatMap((one, i) => (i === 0 ? [one] : [" ", one]));
}
