// One stream of sound to the server, and the events that come back.
//
// What was sent lately is kept here for a while. When the connection breaks, the next one continues after the last word that
// was certain: nothing is lost if it comes back soon, and times continue. See docs/serving.md for the messages.

const KEPT_SECONDS = 30;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4000;
const FINISH_MS = 8000; // without progress, until the last words are given up
const BEFORE_SECONDS = 0.5; // a connection that continues hears this much again
const WAITING_BYTES = 1 << 19; // in the socket: more waits here
const BACKLOG_SECONDS = 2; // how far a recording is read ahead of the server

export class Stream {
  #blocks = []; // {first, samples, sentAt}, by time
  #nTotal = 0; // samples since the beginning
  #nNext = 0; // the next one to send
  #nHeard = 0; // the server has heard all before this
  #offset = 0; // sample at which the server's stream began
  #partial = null; // what is being said, in our time
  #cutOff = null; // finals that a server sent because it was stopped; the next one hears them again
  #finalEnd = 0; // seconds
  #socket = null;
  #isReady = false;
  #isFinishing = false;
  #isClosed = false;
  #nFailed = 0;
  #timer = 0;
  #waiting = []; // who waits for room
  #ended;

  /**
   * settings: {model, phrases}; rate: of the samples, Hz. on: {ready(message), event(event), heard(ms, seconds), state(name,
   * detail), error(message)}. `done` is resolved when the stream has ended.
   */
  constructor({ address, settings, rate, on }) {
    this.address = address;
    this.settings = settings;
    this.rate = rate;
    this.on = on;
    this.done = new Promise((resolve) => (this.#ended = resolve));
    this.#connect();
    window.addEventListener("online", this.#connectNow);
  }

  /** Seconds of sound that the server has not heard yet. */
  get backlog() {
    return (this.#nTotal - this.#nHeard) / this.rate;
  }

  get seconds() {
    return this.#nTotal / this.rate;
  }

  /** Take 16-bit samples; they are sent as soon as possible. */
  send(samples) {
    if (this.#isClosed || this.#isFinishing) return;
    this.#blocks.push({ first: this.#nTotal, samples, sentAt: 0 });
    this.#nTotal += samples.length;
    this.#forget();
    this.#pump();
  }

  /** Note that so much sound was never recorded. */
  skip(seconds) {
    this.send(new Int16Array(Math.round(Math.min(seconds, KEPT_SECONDS) * this.rate)));
  }

  /** Wait until the server has caught up: for recordings, which come faster than it hears. */
  room() {
    if (this.backlog < BACKLOG_SECONDS || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** End the stream: the last words come, then `done`. */
  finish() {
    if (this.#isFinishing || this.#isClosed) return this.done;
    this.#isFinishing = true;
    this.#watchFinish(-1);
    this.#pump();
    return this.done;
  }

  /** Break off; nothing more comes. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#keepCutOff();
    clearTimeout(this.#timer);
    window.removeEventListener("online", this.#connectNow);
    this.#socket?.close(1000);
    this.#leaveRoom();
    this.on.state("closed");
    this.#ended();
  }

  /** Give up when the server has heard nothing more for a while. */
  #watchFinish(nHeardBefore) {
    if (this.#isClosed) return;
    const nHeard = this.#nHeard;
    if (nHeard > nHeardBefore) {
      setTimeout(() => this.#watchFinish(nHeard), FINISH_MS);
      return;
    }
    this.#keepCutOff();
    this.#tellGap(this.#nHeard / this.rate, this.seconds, "the server did not answer any more");
    this.close();
  }

  /** Nobody heard again what a server sent when it was stopped: it stays what was said. */
  #keepCutOff() {
    this.#cutOff?.forEach((event) => this.on.event(event));
    this.#cutOff = null;
  }

  #connect() {
    this.on.state("connecting");
    const socket = new WebSocket(this.address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ rate: this.rate, ...this.settings }));
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = () => this.#lost(socket);
  }

  #connectNow = () => {
    if (this.#timer === 0) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#connect();
  };

  #lost(socket) {
    if (socket !== this.#socket || this.#isClosed) return;
    const wasReady = this.#isReady;
    this.#isReady = false;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.#nFailed, LONGEST_PAUSE_MS);
    this.#nFailed += 1;
    this.on.state("lost", { pause, wasReady });
    this.#timer = setTimeout(this.#connectNow, pause);
  }

  #take(message) {
    switch (message.type) {
      case "ready":
        this.#begin();
        this.on.ready(message);
        this.on.state("ready");
        this.#pump();
        break;
      case "heard":
        this.#noteHeard(this.#offset + message.samples);
        break;
      case "partial":
      case "final":
        this.#tell(message);
        break;
      case "stopping":
        this.#cutOff = [];
        break;
      case "finished":
        this.#nHeard = this.#nTotal;
        this.close();
        break;
      case "error":
        this.on.error(message);
        if (!message.again) this.close();
        break;
    }
  }

  /** Begin the server's stream where the one before was certain of its words. */
  #begin() {
    this.#isReady = true;
    const unsure = this.#cutOff?.[0] ?? this.#partial;
    const said = unsure === null ? this.#nHeard / this.rate : unsure.start;
    const wanted = Math.max(this.#finalEnd, said - BEFORE_SECONDS, 0);
    const oldest = this.#blocks[0]?.first ?? this.#nTotal;
    const isFirst = this.#offset === 0 && this.#nNext === 0;
    this.#offset = isFirst ? oldest : Math.max(Math.ceil(wanted * this.rate), oldest);
    if (oldest > this.#nHeard) {
      this.#tellGap(this.#nHeard / this.rate, oldest / this.rate, "the server could not be reached");
    }
    this.#nNext = this.#offset;
    this.#nHeard = Math.max(this.#nHeard, this.#offset);
    this.#partial = null;
    this.#cutOff = null;
  }

  /** Send what waits, then the end if it was wanted. */
  #pump() {
    if (!this.#isReady || this.#socket.readyState !== WebSocket.OPEN) return;
    for (const block of this.#blocks) {
      const end = block.first + block.samples.length;
      if (end <= this.#nNext) continue;
      if (this.#socket.bufferedAmount > WAITING_BYTES) return; // continues with the next block or answer
      this.#socket.send(block.samples.subarray(Math.max(0, this.#nNext - block.first)));
      block.sentAt = performance.now();
      this.#nNext = end;
    }
    if (this.#isFinishing) {
      this.#isReady = false; // nothing comes after it
      this.#socket.send(JSON.stringify({ type: "finish" }));
    }
  }

  #noteHeard(nHeard) {
    this.#nFailed = 0;
    this.#nHeard = Math.max(this.#nHeard, nHeard);
    const block = this.#blocks.findLast(({ first, samples }) => first + samples.length <= nHeard);
    if (block !== undefined && block.sentAt > 0) this.on.heard(block.sentAt);
    if (this.backlog < BACKLOG_SECONDS) this.#leaveRoom();
    this.#pump();
  }

  #tell(event) {
    const moved = inTime(event, this.#offset / this.rate);
    if (this.#cutOff !== null && moved.type === "final") {
      this.#cutOff.push(moved);
      this.on.event({ ...moved, type: "partial", stable: 0 });
      return;
    }
    this.#partial = moved.type === "partial" ? moved : null;
    if (moved.type === "final") this.#finalEnd = moved.end;
    this.on.event(moved);
  }

  #tellGap(start, end, reason) {
    this.on.event({ type: "gap", start: milliseconds(start), end: milliseconds(end), reason });
  }

  #forget() {
    const first = this.#nTotal - KEPT_SECONDS * this.rate;
    const n = this.#blocks.findIndex((block) => block.first + block.samples.length > first);
    this.#blocks.splice(0, n);
    if (!this.#isReady || this.#blocks[0].first <= this.#nNext) return;
    this.#isReady = false; // the server is far behind: start over with what there is
    this.#socket.close(1000);
  }

  #leaveRoom() {
    this.#waiting.splice(0).forEach((resolve) => resolve());
  }
}

/** Move an event's times by the seconds that had been heard before its stream. */
function inTime(event, seconds) {
  const moved = (one) => ({ ...one, start: milliseconds(one.start + seconds), end: milliseconds(one.end + seconds) });
  return { ...moved(event), words: event.words.map(moved) };
}

function milliseconds(seconds) {
  return Math.round(seconds * 1000) / 1000;
}
