// The page: one button, what is heard, and what is wrong.

import { save } from "./formats.js";
import { Latency } from "./latency.js";
import { Meter } from "./meter.js";
import { listMicrophones, mayRecord, MicrophoneError, openMicrophone } from "./microphone.js";
import { Phrases } from "./phrases.js";
import { askAbout, keepToken, privacy, streamAddress, takeToken } from "./server.js";
import { cut, decode } from "./soundfile.js";
import { Stream } from "./stream.js";
import { element, Transcript } from "./transcript.js";

const RETRY_MS = 1000; // for a microphone that has gone
const LAG_SECONDS = 1; // behind by more: say so
const REFUSALS = 3; // connections refused in a row before the server is asked why

const at = (id) => document.getElementById(id);
const transcript = new Transcript(at("said"), at("saying"));
const meter = new Meter(at("meter"), at("meter-bar"), at("meter-peak"), at("level-hint"));
const latency = new Latency(at("latency"));
const roundTrip = new Latency(at("round-trip"));
const phrases = new Phrases(at("phrases"), at("phrases-faults"));

let models = [];
let session = null; // {stream, close()} while listening

takeToken();
wire();
meetServer();

/** Learn what the server offers; ask for its token if it wants one. */
async function meetServer() {
  let about;
  try {
    about = await askAbout();
  } catch (fault) {
    notice(`The server does not answer: ${fault.message} This page tries again in a few seconds.`);
    setTimeout(meetServer, 3000);
    return;
  }
  at("token-form").hidden = about !== null;
  if (about === null) {
    at("token").focus();
    return;
  }
  notice(null);
  models = about.models;
  at("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  at("model").disabled = models.length < 2;
  showModel();
  at("privacy").textContent = privacy(about.keeps_audio);
  at("certificate").hidden = about.fingerprint === null;
  at("fingerprint").textContent = about.fingerprint ?? "";
  at("phrases").maxLength = about.phrases_bytes;
  if (mayRecord()) at("listen").disabled = false;
  else explainNoMicrophone();
  await showMicrophones();
}

function wire() {
  at("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(at("token").value.trim());
    meetServer().then(() => {
      if (!at("token-form").hidden) notice("That is not this server’s token.");
    });
  });
  at("listen").addEventListener("click", () => {
    if (at("listen").dataset.state === "listening") session.finish();
    else if (at("listen").getAttribute("aria-disabled") !== "true") listen();
  });
  at("model").addEventListener("change", showModel);
  at("clear").addEventListener("click", clear);
  at("file").addEventListener("change", () => hearFile(at("file").files[0]));
  at("phrases-check").addEventListener("click", checkPhrases);
  at("phrases-example").addEventListener("click", () => phrases.showExample(model().example));
  for (const button of document.querySelectorAll("[data-format]")) {
    button.addEventListener("click", () => save(transcript.events, button.dataset.format, fileName()));
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    hearFile(event.dataTransfer.files[0]);
  });
  document.addEventListener("visibilitychange", () => session?.stayAwake());
  navigator.mediaDevices?.addEventListener?.("devicechange", showMicrophones);
  window.addEventListener("pagehide", () => session?.stream.close());
  const isWide = window.matchMedia("(min-width: 56rem)");
  const fold = () => ["settings", "save-card"].forEach((id) => (at(id).open = isWide.matches));
  isWide.addEventListener("change", fold);
  fold();
}

/** Listen to the microphone until the button is pressed again. */
async function listen() {
  setButton("opening");
  notice(null);
  meter.reset();
  let microphone;
  let stream = null;
  let isOver = false;
  const open = () =>
    openMicrophone(at("device").value, {
      onBlock({ samples, peak, clipped }) {
        meter.take(peak, clipped);
        stream?.send(samples);
        if (stream !== null) at("time").textContent = minutes(stream.seconds);
      },
      onTrouble: (text) => status(text === null ? "listening" : "trouble", text ?? "Listening"),
      onEnd: reopen,
    });

  // A microphone that was unplugged is waited for; the time without it is silence to the server.
  async function reopen() {
    const goneAt = performance.now();
    await microphone.close();
    while (!isOver) {
      status("trouble", "The microphone has gone; waiting for it");
      try {
        const found = await open();
        if (isOver || found.rate !== stream.rate) {
          await found.close();
          session?.finish();
          return;
        }
        microphone = found;
        stream.skip((performance.now() - goneAt) / 1000);
        status("listening", "Listening");
        return;
      } catch (fault) {
        if (fault.isLasting) notice(fault.message);
        await pause(RETRY_MS);
      }
    }
  }

  try {
    microphone = await open();
  } catch (fault) {
    setButton("idle");
    notice(fault instanceof MicrophoneError ? fault.message : `The microphone cannot be used: ${fault.message}`);
    return;
  }
  showMicrophones();
  stream = begin(microphone.rate);
  const awake = keepAwake();
  session = {
    stream,
    stayAwake: awake.renew,
    async finish() {
      setButton("finishing");
      isOver = true;
      await microphone.close();
      await stream.finish();
    },
  };
  setButton("listening");
  await stream.done;
  isOver = true;
  await microphone.close();
  awake.release();
  meter.reset();
  end();
}

/** Hear a recording, as fast as the server does. */
async function hearFile(file) {
  if (file === undefined || session !== null || models.length === 0) return;
  notice(null);
  const { rate } = model();
  let samples;
  try {
    samples = await decode(file, rate);
  } catch (fault) {
    notice(fault.message);
    return;
  }
  const stream = begin(rate);
  session = { stream, stayAwake() {}, finish: () => stream.finish() };
  setButton("listening");
  for (const block of cut(samples, rate)) {
    await stream.room();
    stream.send(block);
    at("time").textContent = minutes(stream.seconds);
  }
  await stream.finish();
  at("file").value = "";
  end();
}

/** Open a stream with the settings of the page. */
function begin(rate) {
  phrases.showFaults([]);
  latency.reset();
  roundTrip.reset();
  at("time").textContent = "0:00";
  at("choices").disabled = true;
  at("choices-hint").hidden = false;
  at("phrases").readOnly = true;
  if (transcript.events.length > 0) clear(); // times start at 0
  at("empty").hidden = true;
  let nShown = 0;
  let nRefused = 0;
  const on = {
    ready() {
      nRefused = 0;
      notice(null);
    },
    event(event) {
      transcript.show(event);
      nShown += event.type !== "gap";
      at("clear").hidden = false;
      if (event.type !== "partial") showSaving();
    },
    heard(sentAt) {
      roundTrip.note(performance.now() - sentAt);
      if (nShown > 0) requestAnimationFrame(() => latency.note(performance.now() - sentAt));
      nShown = 0;
      const lag = stream.backlog;
      if (at("status").dataset.state === "listening" || at("status").dataset.state === "lagging") {
        if (lag > LAG_SECONDS) status("lagging", `Listening; the server is ${Math.round(lag)} s behind`);
        else status("listening", "Listening");
      }
    },
    state(name, detail) {
      if (name === "connecting" && nRefused === 0) status("connecting", "Connecting");
      if (name === "ready") status("listening", "Listening");
      if (name !== "lost") return;
      nRefused = detail.wasReady ? 0 : nRefused + 1;
      status("lost", "Connection lost; trying again. What you say is kept for 30 seconds.");
      if (nRefused === REFUSALS) explainRefusal(stream);
    },
    error: (message) => showRefusal(message),
  };
  const stream = new Stream({ address: streamAddress(), settings: settings(), rate, on });
  return stream;
}

function end() {
  session = null;
  at("choices").disabled = false;
  at("choices-hint").hidden = true;
  at("phrases").readOnly = false;
  at("empty").hidden = transcript.events.length > 0;
  setButton("idle");
}

function settings() {
  return { model: model().name, phrases: phrases.text };
}

/** Let the server read the phrases, without sound. */
function checkPhrases() {
  if (phrases.text === "") return phrases.showFine("The box is empty: any words are understood.");
  const button = at("phrases-check");
  button.disabled = true;
  const on = {
    ready() {
      phrases.showFine("No faults.");
      stream.close();
    },
    state(name) {
      if (name === "lost") {
        notice("The server does not answer; try again in a moment.");
        stream.close();
      }
    },
    error: (message) => showRefusal(message),
    event() {},
    heard() {},
  };
  const stream = new Stream({ address: streamAddress(), settings: settings(), rate: model().rate, on });
  return stream.done.then(() => (button.disabled = false));
}

function showRefusal({ message, faults }) {
  if (faults === undefined) {
    notice(message);
    return;
  }
  at("phrases-card").open = true;
  phrases.showFaults(faults);
  at("phrases-faults").querySelector("button")?.click();
}

/** Find out why connections are refused: a token that changed, most likely. */
async function explainRefusal(stream) {
  try {
    if ((await askAbout()) !== null) return;
  } catch {
    return; // nobody answers: keep trying
  }
  stream.close();
  at("token-form").hidden = false;
  at("token").focus();
}

function explainNoMicrophone() {
  const isPlain = !window.isSecureContext;
  const parts = isPlain
    ? [
        element("strong", "", "No microphone here: "),
        `this page came over plain http, and browsers give a microphone only to https, or to pages of the machine itself (localhost). `,
        "Start the server with https: ",
        element("code", "", "--tls self-signed"),
        `, then open https://${location.host}. A recording can be heard without.`,
      ]
    : [
        element("strong", "", "No microphone here: "),
        "this browser cannot record in pages. Take a newer one. A recording can be heard without.",
      ];
  notice(parts);
  at("empty").textContent = "Choose a recording, or drop one here.";
  at("file-card").open = true;
}

async function showMicrophones() {
  const found = await listMicrophones();
  const chosen = at("device").value;
  at("device").replaceChildren(
    new Option("The browser’s choice", ""),
    ...found.map((one) => new Option(one.label, one.deviceId)),
  );
  at("device").value = found.some((one) => one.deviceId === chosen) ? chosen : "";
  at("device").disabled = found.length === 0;
}

function showModel() {
  const { language, rate, bytes, quantization, decoder, understands, example } = model();
  const size = bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const what = decoder === "phrases" ? "understands only the phrases of the server" : understands;
  at("model-understands").textContent = `${what[0].toUpperCase()}${what.slice(1)}`;
  at("model-about").textContent = `Language ${language}, ${size} (${quantization}), ${rate / 1000} kHz`;
  at("phrases-example").hidden = example === "";
}

function model() {
  return models.find(({ name }) => name === at("model").value);
}

function clear() {
  transcript.clear();
  at("clear").hidden = true;
  at("empty").hidden = session !== null;
  showSaving();
}

function showSaving() {
  document.querySelectorAll("[data-format]").forEach((one) => (one.disabled = transcript.events.length === 0));
}

/** Say what is wrong (text or nodes), until it is null. */
function notice(content) {
  at("notice").hidden = content === null;
  at("notice").replaceChildren(...(content === null ? [] : [content].flat()));
}

function status(state, text) {
  if (at("status").textContent !== text) at("status").textContent = text;
  at("status").dataset.state = state;
}

function setButton(state) {
  const labels = { idle: "Start listening", opening: "One moment …", listening: "Stop", finishing: "One moment …" };
  at("listen-label").textContent = labels[state];
  at("listen").dataset.state = state;
  at("listen").disabled = state === "idle" && !mayRecord();
  at("listen").setAttribute("aria-disabled", String(state === "opening" || state === "finishing")); // keeps the focus
  at("file").disabled = state !== "idle";
  if (state === "idle") status("idle", "Not listening");
  if (state === "finishing") status("finishing", "The last words");
}

/** Keep a phone's screen on while listening, where the browser can. */
function keepAwake() {
  let lock = null;
  const renew = async () => {
    if (document.visibilityState !== "visible") return;
    lock = await navigator.wakeLock?.request("screen").catch(() => null);
  };
  renew();
  return { renew, release: () => lock?.release().catch(() => {}) };
}

function minutes(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function fileName() {
  const now = new Date();
  const pad = (number) => String(number).padStart(2, "0");
  return `edgeseq-${now.getFullYear()}-${pad(now.getMonth() + 1)}-${pad(now.getDate())}-${pad(now.getHours())}${pad(now.getMinutes())}`;
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
