// The microphone, as blocks of 16-bit mono samples at whatever rate the browser records.

const SILENT_MS = 2000; // without a block: something is wrong

/** Why there is no microphone, in words for people; `isLasting` if trying again does not help. */
export class MicrophoneError extends Error {
  constructor(message, isLasting) {
    super(message);
    this.isLasting = isLasting;
  }
}

/** Whether this page may ask for a microphone at all: browsers give it to https, and to the machine itself. */
export function mayRecord() {
  return window.isSecureContext && navigator.mediaDevices?.getUserMedia !== undefined && window.AudioWorkletNode !== undefined;
}

/** Names of the microphones; the browser tells them only after one has been allowed. */
export async function listMicrophones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter(
    (one) => one.kind === "audioinput" && one.deviceId !== "" && one.deviceId !== "default" && one.label !== "",
  );
}

/**
 * Record until `close()`. `onBlock({samples, peak, clipped})` gets blocks of 40 ms; `onTrouble(text)` what goes wrong
 * meanwhile and null when it is right again; `onEnd()` comes once if the device goes away.
 */
export async function openMicrophone(deviceId, { onBlock, onTrouble, onEnd }) {
  const media = await ask(deviceId);
  const context = new AudioContext();
  const [track] = media.getAudioTracks();
  let lastBlock = performance.now();
  let isTroubled = false;
  try {
    await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
  } catch (fault) {
    media.getTracks().forEach((one) => one.stop());
    await context.close();
    throw fault;
  }
  const node = new AudioWorkletNode(context, "capture", {
    channelCount: 1,
    channelCountMode: "explicit",
    channelInterpretation: "speakers",
    outputChannelCount: [1],
  });
  const trouble = (text) => {
    isTroubled = text !== null;
    onTrouble(text);
  };
  node.port.onmessage = ({ data }) => {
    lastBlock = performance.now();
    if (isTroubled) trouble(null);
    onBlock(data);
  };
  context.createMediaStreamSource(media).connect(node).connect(context.destination); // plays silence, so that all browsers run it
  track.addEventListener("ended", onEnd);
  const watch = setInterval(() => {
    if (context.state !== "running") context.resume().catch(() => {}); // a call came in, a phone was locked
    if (performance.now() - lastBlock > SILENT_MS) trouble("No sound is coming from the microphone.");
  }, 500);
  await context.resume();

  return {
    rate: context.sampleRate,
    label: track.label,
    async close() {
      if (context.state === "closed") return;
      clearInterval(watch);
      track.removeEventListener("ended", onEnd);
      node.port.onmessage = null;
      media.getTracks().forEach((one) => one.stop());
      await context.close();
    },
  };
}

async function ask(deviceId) {
  // Untouched sound: what browsers do for calls costs words, and would hide how loud the input is.
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  if (deviceId !== "") audio.deviceId = { exact: deviceId };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (fault) {
    throw explained(fault);
  }
}

function explained(fault) {
  switch (fault.name) {
    case "NotAllowedError":
      return new MicrophoneError(
        "The browser may not give this page the microphone. Allow it in the browser’s settings for this page (beside the " +
          "address), then press the button again.",
        true,
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return new MicrophoneError(
        "There is no such microphone. Plug one in or choose another, then press the button again.",
        false,
      );
    case "NotReadableError":
      return new MicrophoneError("The microphone does not answer; perhaps another program holds it.", false);
    default:
      return new MicrophoneError(`The microphone cannot be opened: ${fault.message}`, true);
  }
}
