#!/bin/sh
# Subtitles for a video or a recording, by edgeseq and ffmpeg.
#
#   sh docs/examples/subtitles.sh talk.mp4            writes talk.srt, which players find by its name
#   sh docs/examples/subtitles.sh talk.mp4 --track    also talk.subtitled.mp4, with subtitles that can be switched off
#   sh docs/examples/subtitles.sh talk.mp4 --burn     also talk.subtitled.mp4, with the words in the picture
#
# EDGESEQ_DEFAULT_MODEL names the model.
set -eu

video=${1:?name a video or a recording: sh subtitles.sh talk.mp4}
subtitles=${video%.*}.srt
edgeseq transcribe --format srt "$video" >"$subtitles"
echo "wrote $subtitles" >&2

out=${video%.*}.subtitled.mp4
case ${2-} in
  "") exit ;;
  --track)
    ffmpeg -v error -y -i "$video" -i "$subtitles" -map 0 -map 1 -c copy -c:s mov_text "$out" ;;
  --burn)
    # The filter reads colons and quotes in a name as its own, so it gets a link with a plain name.
    plain=$(mktemp -d)
    trap 'rm -r "$plain"' EXIT
    ln -s "$(realpath "$subtitles")" "$plain/words.srt"
    ffmpeg -v error -y -i "$video" -vf "subtitles=$plain/words.srt" -c:a copy "$out" ;;
  *)
    echo "subtitles.sh: '$2' is not an option; there are --track and --burn." >&2
    exit 2 ;;
esac
echo "wrote $out" >&2
