"""Speech from espeak-ng, through the library inside the espeakng-loader wheel.

espeak-ng is GPL-3.0, so it is in optional extras of Serval (`serval[demo]`, `serval[probe]`) and is
loaded only when a voice is made.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import shutil
import tempfile
import threading
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ser_model.schema import ConfigError

ESPEAK_SAMPLING_RATE_HZ = 22_050

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7

_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)

# Loading a voice uses functions of the C library that keep state of their own (setlocale, strtok).
_loading = threading.Lock()


class Voice:
    """One speaker's voice.

    espeak-ng keeps state from one sentence to the next (flutter, noise), and has it once for each
    loaded library. So that a speaker sounds the same whoever spoke before, and in any thread, each
    voice loads a copy of the library of its own (about 30 ms), and unloads it at its end.

    Example:
        >>> with Voice("gmw/en+f1") as voice:
        ...     waveform = voice.speak("Good morning.", rate_wpm=175, pitch=50, pitch_range=50)
        >>> waveform.dtype, 10_000 < len(waveform) < 40_000
        (dtype('float32'), True)
    """

    def __init__(self, name: str) -> None:
        """Load the voice.

        Args:
            name: espeak-ng's language or its file, then perhaps a plus and a variant: "en-us",
                "gmw/en-US+m3".

        Raises:
            ConfigError: espeak-ng is not installed, or has no such voice.
        """
        self._pieces: list[NDArray[np.int16]] = []
        self._callback = _SynthCallback(self._keep)  # kept here, or it would be collected
        with ExitStack() as closing:
            # Dictionaries are read from it while speaking, where words of another script come up.
            folder = closing.enter_context(tempfile.TemporaryDirectory())
            with _loading:
                self._library = _load_copy(Path(folder))
                closing.callback(_unload, self._library)
                self._library.espeak_SetSynthCallback(self._callback)
                self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
                if self._library.espeak_SetVoiceByName(os.fsencode(name)) != 0:
                    known = ", ".join(_voices_like(name, Path(folder)))
                    raise ConfigError(f"espeak-ng has no voice {name!r}; it has {known}")
            self._closing = closing.pop_all()

    def __enter__(self) -> Voice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.close()

    def speak(
        self, text: str, *, rate_wpm: int, pitch: int, pitch_range: int, word_gap: int = 0
    ) -> NDArray[np.float32]:
        """Speak one sentence.

        Args:
            text: the sentence, of more than white space and without control characters: one of them
                begins commands of espeak-ng, and another ends the text.
            rate_wpm: words a minute, 80 to 450.
            pitch: 0 to 99; 50 is the voice's own, 4 steps are about a semitone.
            pitch_range: 0 (monotonous) to 99; 50 is the voice's own.
            word_gap: pause between words in 10 ms at a rate of 175 words a minute.

        Returns:
            Waveform [num_samples] at 22,050 Hz, within -1 to 1; short and silent where there is
            nothing to say.
        """
        settings = {_RATE: rate_wpm, _PITCH: pitch, _RANGE: pitch_range, _WORD_GAP: word_gap}
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
        samples = np.concatenate([np.empty(0, np.int16), *self._pieces])
        return (samples / 32_768).astype(np.float32)

    def _keep(self, samples: ctypes._Pointer[ctypes.c_short], num_samples: int, _: object) -> int:
        if samples and num_samples > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        return 0


def espeak_version() -> str:
    """Return the version of the espeakng-loader wheel, which carries espeak-ng and its data."""
    return version("espeakng-loader")


def _voices_like(name: str, folder: Path) -> list[str]:
    """Return the voices whose names begin with the same two letters; all where there are none."""
    files = (folder / "espeak-ng-data" / "lang").rglob("*")
    voices = sorted(file.name.lower() for file in files if file.is_file())
    return [voice for voice in voices if voice.startswith(name[:2].lower())] or voices


def _unload(library: ctypes.CDLL) -> None:
    library.espeak_Terminate()
    _ctypes.dlclose(library._handle)  # Python never does, and thousands of copies fill the memory


def _load_copy(folder: Path) -> ctypes.CDLL:
    """Load a copy of the library from `folder`, with its data beside it."""
    try:
        import espeakng_loader
    except ModuleNotFoundError as error:
        raise ConfigError(
            "espeak-ng is not installed: pip install 'serval[demo]' (for `serval demo`) or "
            "'serval[probe]' (for `serval probe text`)"
        ) from error
    copy = shutil.copy(Path(espeakng_loader.get_library_path()).resolve(), folder / "espeak-ng.so")
    # espeak-ng cuts paths behind 160 characters, which an environment's own path may exceed.
    (folder / "espeak-ng-data").symlink_to(Path(espeakng_loader.get_data_path()).resolve())
    try:
        library = ctypes.CDLL(str(copy))
    except OSError as error:
        raise ConfigError(
            f"espeak-ng cannot be loaded ({error}): reinstall with "
            "pip install --force-reinstall espeakng-loader"
        ) from error
    sampling_rate_hz = library.espeak_Initialize(
        _AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(folder), _INITIALIZE_DONT_EXIT
    )
    if sampling_rate_hz != ESPEAK_SAMPLING_RATE_HZ:
        raise ConfigError(
            "espeak-ng does not find its data: reinstall with "
            "pip install --force-reinstall espeakng-loader"
        )
    return library
