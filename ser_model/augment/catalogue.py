"""The conditions by name, and the sets that they come in. docs/conditions.md says the same."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, cast

from ser_model.augment import level
from ser_model.augment.codecs import Codec
from ser_model.augment.condition import Condition, Transform
from ser_model.augment.edits import AddZeros, Crop, Gaps, keep
from ser_model.augment.filters import Microphone, Pass, Tilt
from ser_model.augment.mixing import Babble, Background, Event, FromFolder, Tone, WhiteNoise
from ser_model.augment.noise_folder import NoiseFolder
from ser_model.augment.noise_layout import ADVICE
from ser_model.augment.phone import low_quality_phone
from ser_model.augment.rooms import Room
from ser_model.augment.tempo import Playback, SpeedUpStretch
from ser_model.schema import CLEAN, ConfigError

FEW_SAMPLES = (100, 500, 1000)
KBPS = (24, 48, 64, 128)
LUFS = (-36, -30, -23, -16, -9)
SEVERITY_DB = (30, 25, 20, 15, 10, 5, 0)


def conditions(names: Sequence[str], noise: NoiseFolder | None) -> tuple[Condition, ...]:
    """Return the conditions that `names` mean, in their order, each once.

    Args:
        names: of sets (SETS) and of single conditions.
        noise: where the conditions that mix in sounds take them from.

    Raises:
        ConfigError: a name is unknown, noise is needed and not there, or a package is missing.

    Example:
        >>> [condition.name for condition in conditions(["clean", "severity"], None)][:3]
        ['clean', 'white-noise-30db', 'white-noise-25db']
    """
    found = named(names)
    _check_packages(found)
    _check_noise(found, noise)
    return tuple(_bound(condition, noise) for condition in found)


def named(names: Sequence[str]) -> tuple[Condition, ...]:
    """Return what `names` mean as `conditions` does, to be looked at: whatever they need, or lack.

    Raises:
        ConfigError: a name is unknown.

    >>> [condition.needs_noise for condition in named(["fade", "music-20db"])]
    [False, True]
    """
    chosen: dict[str, Condition] = {}
    for name in names:
        if name not in SETS and name not in _CONDITIONS:
            raise ConfigError(
                f"there is no condition {name!r}; sets are {', '.join(SETS)}, and conditions "
                f"{', '.join(_CONDITIONS)}"
            )
        chosen |= {member: _CONDITIONS[member] for member in SETS.get(name, (name,))}
    return tuple(chosen.values())


def known_names() -> tuple[str, ...]:
    """Return the names of all conditions.

    >>> "natural-0db" in known_names()
    True
    """
    return tuple(_CONDITIONS)


def _check_packages(found: Sequence[Condition]) -> None:
    for condition in found:
        absent = [name for name in condition.packages if importlib.util.find_spec(name) is None]
        if absent:
            raise ConfigError(
                f"condition {condition.name} needs {', '.join(absent)}: pip install "
                "'serval[augment]'"
            )


def _check_noise(found: Sequence[Condition], noise: NoiseFolder | None) -> None:
    needing = [condition for condition in found if condition.needs_noise]
    if not needing:
        return
    if noise is None:
        names = ", ".join(condition.name for condition in needing)
        raise ConfigError(f"no noise folder is given (--noise), which {names} need: {ADVICE}")
    noise.check({cast(FromFolder, condition.transform).kind for condition in needing})


def _bound(condition: Condition, noise: NoiseFolder | None) -> Condition:
    """Return a condition that knows its noise folder."""
    if not condition.needs_noise:
        return condition
    transform = replace(cast(FromFolder, condition.transform), folder=noise)
    return replace(condition, transform=cast(Transform, transform))


def _condition(
    name: str,
    description: str,
    transform: Transform,
    *packages: str,
    draws: str | None = None,
) -> Condition:
    return Condition(
        name=name,
        description=description,
        transform=transform,
        draws=draws or name,
        needs_noise=isinstance(transform, FromFolder),
        packages=packages,
    )


def _at_snr(kind: str, snr_db: int, *, prefix: str = "", what: str) -> Condition:
    family = prefix or kind
    transform = Background(kind=kind, snr_db=snr_db)
    description = f"{what} at an SNR of {snr_db} dB"
    return _condition(f"{family}-{snr_db}db", description, transform, draws=family)


def _white(snr_db: int) -> Condition:
    transform = WhiteNoise(snrs_db=(snr_db,))
    description = f"Gaussian white noise at an SNR of {snr_db} dB"
    return _condition(f"white-noise-{snr_db}db", description, transform, draws="white-noise")


def _event(name: str, kind: str) -> Condition:
    description = f"one {kind} at an SNR of 10 dB somewhere"
    return _condition(f"{name}-10db", description, Event(kind=kind, snr_db=10))


def _wagner() -> list[Condition]:
    sounds = {
        "natural": "natural soundscapes",
        "human": "human sounds that are no speech",
        "interior": "interior, domestic sounds",
    }
    stretch = SpeedUpStretch(least=0.1, most=0.2, factor=1.25)
    return [
        *(_at_snr(kind, snr, what=what) for kind, what in sounds.items() for snr in (0, 10, 20)),
        _condition(
            "speed-up-segment", "10 to 20 % of the segment 1.25 times as fast", stretch, "av"
        ),
        _condition("fade", "2 % a second quieter, or louder", level.Fade(part_per_s=0.02)),
    ]


def _small_changes() -> list[Condition]:
    tone = Tone(low_hz=5000, high_hz=7000, peak_ratios_db=(40, 45, 50))
    high = Pass(kind="highpass", cutoffs_hz=(50, 100, 150), order=1)
    low = Pass(kind="lowpass", cutoffs_hz=(7500, 7000, 6500), order=1)
    clip = level.Clip(shares=(0.001, 0.002, 0.003))

    def zeros(side: Literal["beginning", "end"]) -> AddZeros:
        return AddZeros(side=side, nums_samples=FEW_SAMPLES)

    def crop(side: Literal["beginning", "end"]) -> Crop:
        return Crop(side=side, nums_samples=FEW_SAMPLES)

    return [
        _condition("small-tone", "a tone of 5 to 7 kHz, 40, 45 or 50 dB below the peak", tone),
        _condition("small-append-zeros", "100, 500 or 1000 zeros behind", zeros("end")),
        _condition("small-clip", "the loudest .1, .2 or .3 % of samples clipped", clip),
        _condition("small-crop-beginning", "without the first 100, 500 or 1000", crop("beginning")),
        _condition("small-crop-end", "without the last 100, 500 or 1000 samples", crop("end")),
        _condition(
            "small-gain", "2 or 1 dB quieter or louder", level.Gain(gains_db=(-2, -1, 1, 2))
        ),
        _condition("small-high-pass", "high-pass of order 1 at 50, 100 or 150 Hz", high),
        _condition("small-low-pass", "low-pass of order 1 at 7.5, 7 or 6.5 kHz", low),
        _condition("small-prepend-zeros", "100, 500 or 1000 zeros in front", zeros("beginning")),
        _condition(
            "small-white-noise",
            "white noise at an SNR of 35, 40 or 45 dB",
            WhiteNoise(snrs_db=(35, 40, 45)),
        ),
    ]


def _ser_tests() -> list[Condition]:
    babble = Babble(kind="speech", snr_db=20, fewest=4, most=7)
    rooms = {
        "position-1m": ("a microphone at 1 m, to compare with", (6, 5, 3), 0.45, 1),
        "position-3m": ("the microphone of position-1m at 3 m", (6, 5, 3), 0.45, 3),
        "room-booth": ("a recording booth, to compare with", (3, 1.8, 2.2), 0.12, 0.5),
        "room-office": ("an office", (6.4, 5, 2.9), 0.4, 1),
        "room-lecture": ("a lecture room", (10.9, 10.8, 3.15), 0.55, 2),
        "microphone-boundary": ("a microphone on a table at 1.5 m", (8, 5, 3.1), 0.3, 1.5),
    }
    mobile = Microphone(low_hz=200, high_hz=6000, hiss_snr_db=35)
    return [
        *_small_changes(),
        _condition("babble-20db", "4 to 7 voices at an SNR of 20 dB", babble),
        _event("coughing", "cough"),
        _at_snr("environmental", 20, what="sounds of surroundings"),
        _at_snr("music", 20, what="music"),
        _event("sneezing", "sneeze"),
        _white(20),
        _condition("phone", "a phone of low quality", low_quality_phone, "av"),
        _condition("tilt-down", "spectrum falling by 12 dB over 8 kHz", Tilt(rise_db=-12)),
        _condition("tilt-up", "spectrum rising by 12 dB over 8 kHz", Tilt(rise_db=12)),
        _condition("microphone-mobile", "a small microphone: 200 to 6000 Hz, hiss", mobile),
        *(
            _condition(
                name,
                what,
                Room(size_m=size_m, rt60_s=rt60_s, distance_m=distance_m),
                "pyroomacoustics",
            )
            for name, (what, size_m, rt60_s, distance_m) in rooms.items()
        ),
    ]


def _podcast() -> list[Condition]:
    codecs: tuple[tuple[Literal["mp3", "aac", "opus"], tuple[str, ...]], ...] = (
        ("mp3", ()),
        ("aac", ("av",)),
        ("opus", ("av",)),
    )
    return [
        *(
            _condition(
                f"{codec}-{kbps}kbps",
                f"{codec.upper()} at {kbps} kbit/s",
                Codec(name=codec, kbps=kbps),
                *packages,
            )
            for codec, packages in codecs
            for kbps in KBPS
        ),
        *(_at_snr("music", snr, what="music") for snr in (10, 20)),
        *(
            _at_snr("speech", snr, prefix="cross-talk", what="another speaker")
            for snr in (5, 10, 20)
        ),
        *(
            _condition(
                f"loudness-minus-{-lufs}lufs",
                f"a loudness of {lufs} LUFS",
                level.Loudness(lufs=lufs),
                "pyloudnorm",
            )
            for lufs in LUFS
        ),
        *(
            _condition(
                f"playback-{factor}x",
                f"{factor} times as fast at the same pitch",
                Playback(factor=factor),
                "av",
            )
            for factor in (1.25, 1.5)
        ),
        *(
            _condition(
                f"clipping-{percent}pct",
                f"the loudest {percent} % of samples clipped",
                level.Clip(shares=(percent / 100,)),
            )
            for percent in (1, 5)
        ),
        *(
            _condition(
                f"gaps-{percent}pct",
                f"{percent} % of frames of 20 ms lost",
                Gaps(share=percent / 100),
            )
            for percent in (2, 10)
        ),
    ]


_BY_SET = {
    "wagner": _wagner(),
    "ser-tests": _ser_tests(),
    "podcast": _podcast(),
    "severity": [_white(snr_db) for snr_db in SEVERITY_DB],
}
SETS = {name: tuple(c.name for c in members) for name, members in _BY_SET.items()}
"""The names of the conditions in each set."""

_CONDITIONS = {CLEAN: _condition(CLEAN, "as it was recorded", keep)}
_CONDITIONS |= {c.name: c for members in _BY_SET.values() for c in members}
