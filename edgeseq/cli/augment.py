"""`edgeseq augment`: what training does to an utterance, to be seen and heard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy

NAME_WIDTH = 15


def augment(
    file: Annotated[str, typer.Argument(help="The utterance: whatever `edgeseq transcribe` reads.", metavar="FILE")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the recipe, such as augment.noise.probability=1.", metavar="[KEY=VALUE]..."),
    ] = None,
    recipe: Annotated[Path, typer.Option(help="The recipe whose `augment` section is meant.")] = Path("recipes/ctc.yaml"),
    seed: Annotated[int, typer.Option(min=0, help="The first seed; the next are seed + 1 ...")] = 0,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many ways to hear it.")] = 3,
    only: Annotated[str, typer.Option(help="Do these alone, for certain: keys of `augment`, between commas.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the WAV files and the picture.")] = Path("augmented"),
    play: Annotated[bool, typer.Option("--play", help="Play each through the loudspeaker.")] = False,
) -> None:
    """Show what augmentation does to a recording.

    It prints what was drawn, and writes WAV files and a picture of the log-mel.

    The same seed gives the same sound. Steps of a training draw from more: which clips are joined, how hard rows are by now.

    \b
    Examples:
      edgeseq augment demo/number.flac --count 5 --play
      edgeseq augment demo/number.flac --only noise,room --seed 7
      edgeseq augment a.flac augment.recorded_noise.sounds=musan/noise
    """
    from edgeseq.errors import MissingExtraError

    try:
        with busy("loading torch"):
            from edgeseq.training.augmentation import showing
            from edgeseq.training.recipe_file import load_recipe
    except ModuleNotFoundError as fault:
        raise MissingExtraError(f"This needs {fault.name}, which is not installed: pip install 'edgeseq[train]'") from fault
    import numpy as np
    import soundfile

    from edgeseq.sound.audio import read_blocks
    from edgeseq.sound.playback import play as play_sound

    resolved = load_recipe(recipe, overrides or [])
    wanted = [key.strip() for key in only.split(",") if key.strip()] or list(showing.KEYS)
    if only:
        resolved = showing.only(resolved, wanted)
    rate = resolved.frontend.sample_rate
    samples = np.concatenate(list(read_blocks(file, rate)))
    heard = [showing.as_it_is(samples, resolved)]
    heard += [showing.hear(samples, resolved, seed + number) for number in range(count)]
    out.mkdir(parents=True, exist_ok=True)
    stem = "stdin" if file == "-" else Path(file).stem
    for one in heard:
        path = out / f"{stem}-{one.title.replace(' ', '-')}.wav"
        soundfile.write(path, one.samples, rate, subtype="PCM_16")
        say(f"{one.title}: {path}")
        for key, words in (told for told in one.told if told[0] in wanted):
            say(f"  {key:{NAME_WIDTH}} {words}")
    picture = out / f"{stem}.png"
    showing.draw_picture(heard, resolved, picture)
    say(f"picture: {picture}")
    for one in heard if play else ():
        say(f"playing {one.title}", err=True)
        play_sound(one.samples, rate)
