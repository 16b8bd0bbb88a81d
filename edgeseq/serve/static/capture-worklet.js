// Runs in the browser's audio thread: copies the microphone into blocks of 16-bit samples and measures their level.

const BLOCK_SECONDS = 0.04;
const FULL_SCALE = 0.9985; // from here on a sample counts as clipped, as in edgeseq's own level meter

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.begin();
  }

  begin() {
    this.samples = new Int16Array(Math.round(sampleRate * BLOCK_SECONDS));
    this.n = 0;
    this.peak = 0;
    this.clipped = 0;
  }

  process(inputs) {
    const mono = inputs[0][0]; // the node mixes channels down
    if (mono === undefined) return true; // nothing connected at the moment
    for (const sample of mono) {
      const size = Math.abs(sample);
      if (size > this.peak) this.peak = size;
      if (size >= FULL_SCALE) this.clipped += 1;
      this.samples[this.n] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      this.n += 1;
      if (this.n === this.samples.length) {
        const { samples, peak, clipped } = this;
        this.port.postMessage({ samples, peak, clipped }, [samples.buffer]);
        this.begin();
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
