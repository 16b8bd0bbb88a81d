// How long it takes, measured here: medians of the latest times.

const N_KEPT = 50;

export class Latency {
  #times = [];

  constructor(place) {
    this.place = place;
    this.reset();
  }

  reset() {
    this.#times = [];
    this.place.textContent = "–";
  }

  note(ms) {
    this.#times = [...this.#times.slice(1 - N_KEPT), ms];
    const sorted = [...this.#times].sort((a, b) => a - b);
    this.place.textContent = `${Math.round(sorted[Math.floor(sorted.length / 2)])} ms`;
  }
}
