#!/bin/sh
# Makes number.flac again: flite's voice slt, a number in three groups, as someone would dictate it: digit by digit.
# Needs: sudo apt install flite ffmpeg
set -eu
cd "$(dirname "$0")"
parts=$(mktemp -d)
trap 'rm -r "$parts"' EXIT
say() { flite -voice slt --setf duration_stretch=1.2 -t "$1" -o "$parts/$2.wav"; }
say "zero, four, one" 1
say "three, nine, five" 2
say "two, eight, seven, six" 3
ffmpeg -v error -y -i "$parts/1.wav" -i "$parts/2.wav" -i "$parts/3.wav" -filter_complex \
  "[0]apad=pad_dur=1[a]; [1]apad=pad_dur=1[b]; [2]apad=pad_dur=0.5[c]; [a][b][c]concat=n=3:v=0:a=1" \
  -ar 16000 -ac 1 -sample_fmt s16 -map_metadata -1 -bitexact number.flac
