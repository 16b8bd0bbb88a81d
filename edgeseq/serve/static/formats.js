// The words of a session as files. Subtitles are cut as `edgeseq transcribe --format srt` cuts them.

const MAX_WORDS = 7;
const MAX_SECONDS = 6;
const PAUSE_SECONDS = 1;
const MIN_SECONDS = 0.5;

const WRITERS = { txt: toText, jsonl: toJsonl, srt: toSrt };
const TYPES = { txt: "text/plain", jsonl: "application/jsonl", srt: "application/x-subrip" };

/** Let the browser save the events of a session. */
export function save(events, format, name) {
  const content = new Blob([WRITERS[format](events)], { type: `${TYPES[format]};charset=utf-8` });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `${name}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function toText(events) {
  return finals(events)
    .map((event) => `${event.text}\n`)
    .join("");
}

function toJsonl(events) {
  return events.map((event) => `${JSON.stringify(event)}\n`).join("");
}

function toSrt(events) {
  return finals(events)
    .flatMap(cues)
    .map((cue, i) => `${i + 1}\n${stamp(cue.start)} --> ${stamp(cue.end)}\n${cue.text}\n\n`)
    .join("");
}

function finals(events) {
  return events.filter((event) => event.type === "final");
}

function cues(event) {
  const pieces = cut(event.words);
  return pieces.map((piece, i) => {
    const { start } = piece[0];
    const limit = pieces[i + 1]?.[0].start ?? Infinity;
    const end = Math.min(Math.max(piece.at(-1).end, start + MIN_SECONDS), limit);
    return { start, end, text: piece.map(({ word }) => word).join(" ") };
  });
}

function cut(words) {
  const pieces = [];
  for (const word of words) {
    const piece = pieces.at(-1);
    const goesOn =
      piece !== undefined &&
      piece.length < MAX_WORDS &&
      word.end - piece[0].start <= MAX_SECONDS &&
      word.start - piece.at(-1).end < PAUSE_SECONDS;
    if (goesOn) piece.push(word);
    else pieces.push([word]);
  }
  return pieces;
}

function stamp(seconds) {
  const ms = Math.round(seconds * 1000);
  const pad = (number, n) => String(number).padStart(n, "0");
  const [hours, minutes] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60];
  return `${pad(hours, 2)}:${pad(minutes, 2)}:${pad(Math.floor(ms / 1000) % 60, 2)},${pad(ms % 1000, 3)}`;
}
