"""Records one speaker's episode: sentences spoken as the rule says, with pauses between them."""

from __future__ import annotations

import numpy as np
import soxr

from orchestration.demo import rule, sound
from orchestration.demo.sentences import sentences_of
from orchestration.demo.speakers import Speaker
from orchestration.demo.telephone import Telephone
from orchestration.level import level_dbfs, set_level
from orchestration.voices import ESPEAK_SAMPLING_RATE_HZ, Voice
from ser_model.audio import SAMPLING_RATE_HZ, Waveform

ROOM_NOISE_DBFS = -66.0
PAUSE_S = (0.3, 0.9)
SILENCE_DB = -45.0
"""Below its peak by more than this, the beginning and end of a spoken sentence is cut."""

_SAMPLES_PER_MS = SAMPLING_RATE_HZ // 1000
"""All lengths are whole milliseconds, so that the times in the manifest are short and exact."""

Row = dict[str, object]


def record_episode(
    speaker: Speaker,
    *,
    num_segments: int,
    rater_biases: np.ndarray,
    telephone: Telephone,
    rng: np.random.Generator,
) -> tuple[Waveform, list[Row]]:
    """Record one speaker.

    Returns:
        The waveform [num_samples] at 16 kHz, and a row of the manifest for each segment, yet
        without its recording.
    """
    on_telephone = telephone.carries(speaker)
    pieces = [_pause(rng)]
    rows = []
    with Voice(speaker.voice) as voice:
        for number in range(num_segments):
            waveform, row = _record_segment(voice, speaker, rater_biases, rng)
            if on_telephone:
                waveform = set_level(
                    waveform, telephone.controlled_level_dbfs(level_dbfs(waveform))
                )
            start = sum(map(len, pieces))
            row["segment_id"] = f"{speaker.speaker_id}-{number:03d}"
            row["start_s"] = start / SAMPLING_RATE_HZ
            row["end_s"] = (start + len(waveform)) / SAMPLING_RATE_HZ
            rows.append(row)
            pieces += [waveform, _pause(rng)]
    episode = np.concatenate(pieces)
    episode += sound.white_noise(len(episode), ROOM_NOISE_DBFS, rng)
    if on_telephone:
        episode = telephone.transmit(episode, rng)
    return episode, rows


def speak(voice: Voice, sentence: str, prosody: rule.Prosody, vocal_tract: float) -> Waveform:
    """Speak a sentence as the prosody says: [num_samples] at 16 kHz, no silence at its ends.

    Playing espeak-ng's samples faster by `vocal_tract` moves all formants, and with them rate and
    pitch, which are set lower by as much.
    """
    pitch = 50 + 50 * (prosody.pitch_semitones / 12 - np.log2(vocal_tract))
    waveform = voice.speak(
        sentence,
        rate_wpm=round(np.clip(prosody.rate_wpm / vocal_tract, 80, 340)),
        pitch=round(np.clip(pitch, 0, 99)),  # espeak-ng's scale: 50 steps are an octave
        pitch_range=round(np.clip(prosody.pitch_range, 0, 99)),
        word_gap=round(prosody.pause_ms / 10),
    )
    waveform = soxr.resample(waveform, ESPEAK_SAMPLING_RATE_HZ * vocal_tract, SAMPLING_RATE_HZ)
    waveform = sound.apply_shelves(
        _trim(waveform), low_db=prosody.low_shelf_db, high_db=prosody.high_shelf_db
    )
    return set_level(waveform, prosody.level_dbfs)


def _record_segment(
    voice: Voice, speaker: Speaker, rater_biases: np.ndarray, rng: np.random.Generator
) -> tuple[Waveform, Row]:
    latents = rule.draw_latents(rng)
    sentiment = rule.sentiment_of(latents, rng)
    sentence = str(rng.choice(sentences_of(sentiment)))
    prosody = rule.prosody_of(latents, speaker.manner, rng)
    row: Row = {
        "speaker_id": speaker.speaker_id,
        "sex": speaker.sex,
        "accent": speaker.accent,
        "split": speaker.split,
        "transcript": sentence,
        "sentiment": sentiment,
        "emotion": rule.emotion_of(latents),
        **rule.rate(latents, rater_biases, rng),
    }
    return speak(voice, sentence, prosody, speaker.vocal_tract), row


def _trim(waveform: Waveform) -> Waveform:
    threshold = np.abs(waveform).max() * 10 ** (SILENCE_DB / 20)
    (loud,) = np.nonzero(np.abs(waveform) > threshold)
    num_ms = (loud[-1] + 1 - loud[0]) // _SAMPLES_PER_MS
    return waveform[loud[0] : loud[0] + num_ms * _SAMPLES_PER_MS]


def _pause(rng: np.random.Generator) -> Waveform:
    num_ms = int(1000 * rng.uniform(*PAUSE_S))
    return np.zeros(num_ms * _SAMPLES_PER_MS, dtype=np.float32)
