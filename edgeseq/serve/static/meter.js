// Input level: a bar, a mark at the recent peak, and a word when something is wrong.

const LOWEST_DB = -60;
const QUIET_DB = -45;
const FALL_DB = 1.6; // a block
const CLIPPED_MS = 2500; // for how long it is shown
const QUIET_MS = 4000; // of hardly anything, before it is said
const PEAK_MS = 1500; // for which the mark stays
const SAID_MS = 500; // between two numbers for screen readers

export class Meter {
  #level = LOWEST_DB;
  #peak = LOWEST_DB;
  #peakAt = 0;
  #clippedAt = -Infinity;
  #loudAt = 0;
  #soundAt = 0;
  #saidAt = 0;

  constructor(meter, bar, mark, hint) {
    Object.assign(this, { meter, bar, mark, hint });
    this.reset();
  }

  reset() {
    const now = performance.now();
    [this.#level, this.#peak, this.#clippedAt, this.#loudAt, this.#soundAt] = [LOWEST_DB, LOWEST_DB, -Infinity, now, now];
    this.#draw(now);
    this.#say("");
  }

  /** Take a block's largest sample (0 to 1) and how many samples were at full scale. */
  take(peak, clipped) {
    const now = performance.now();
    const db = peak > 0 ? Math.min(Math.max(20 * Math.log10(peak), LOWEST_DB), 0) : LOWEST_DB;
    this.#level = Math.max(db, this.#level - FALL_DB, LOWEST_DB);
    if (db >= this.#peak || now - this.#peakAt > PEAK_MS) [this.#peak, this.#peakAt] = [this.#level, now];
    if (clipped > 0) this.#clippedAt = now;
    if (db > QUIET_DB) this.#loudAt = now;
    if (peak > 0) this.#soundAt = now;
    this.#draw(now);
    this.#say(this.#trouble(now));
  }

  #trouble(now) {
    if (now - this.#clippedAt < CLIPPED_MS) return "Too loud: the sound is cut off. Move away or turn the input down.";
    if (now - this.#soundAt > QUIET_MS) return "Nothing but zeros comes in: the microphone is off or muted.";
    if (now - this.#loudAt > QUIET_MS) return "Very quiet.";
    return "";
  }

  #draw(now) {
    const part = (db) => 1 - db / LOWEST_DB;
    this.bar.style.setProperty("transform", `scaleX(${part(this.#level).toFixed(3)})`);
    this.mark.style.setProperty("left", `${(100 * part(this.#peak)).toFixed(1)}%`);
    this.meter.classList.toggle("clipped", now - this.#clippedAt < CLIPPED_MS);
    if (now - this.#saidAt < SAID_MS) return;
    this.#saidAt = now;
    this.meter.setAttribute("aria-valuenow", this.#level.toFixed(0));
  }

  #say(text) {
    if (this.hint.textContent !== text) this.hint.textContent = text;
  }
}
