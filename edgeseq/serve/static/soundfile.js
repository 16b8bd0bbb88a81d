// A recording, decoded by the browser, as blocks of 16-bit mono samples.

const BLOCK_SECONDS = 0.2;

/** Decode a file to mono at `rate` Hz; throws an Error that says so if the browser cannot. */
export async function decode(file, rate) {
  const content = await file.arrayBuffer();
  const context = new OfflineAudioContext(1, 1, rate);
  let sound;
  try {
    sound = await context.decodeAudioData(content);
  } catch {
    throw new Error(`This browser cannot open ${file.name} as sound. Try WAV, MP3, FLAC, Ogg or m4a.`);
  }
  const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));
  const samples = new Int16Array(sound.length);
  for (let i = 0; i < samples.length; i += 1) {
    let sum = 0;
    for (const channel of channels) sum += channel[i];
    samples[i] = Math.max(-32768, Math.min(32767, Math.round((sum / channels.length) * 32768)));
  }
  return samples;
}

export function* cut(samples, rate) {
  const size = Math.round(rate * BLOCK_SECONDS);
  for (let first = 0; first < samples.length; first += size) yield samples.slice(first, first + size);
}
