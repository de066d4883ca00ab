"""Readers turn corpora as they lie on disk into manifests; one small file a layout.

A reader is a module with LAYOUT (one line), `matches(source, files)` and `read(source, files)`.
`source` is what the user named; `files` are the paths of all files below it, none where the source
is a file itself. `read` returns a table, its recordings relative to `folder_of(source, files)`; or
one without recordings, where the corpus is scored as it is and only its metadata are wanted.

A reader may have two things more: TRUTH_RANGE, the scale on which its corpus rates the dimensions
(without it, 0 to 1), and EXPECTED, how many segments a release of the corpus holds. Where each
corpus of a layout says its scale itself, `truth_range(source, files)` returns it.
"""

READER_NAMES = (
    "msp_podcast",
    "emotyda",
    "iemocap",
    "cmu_mosi",
    "ravdess",
    "emodb",
    "crema_d",
    "esc50",
    "musan",
    "audformat",
    "lhotse",
    "huggingface",
    "table",
    "rttm",
    "folder",
)
"""The modules, in the order in which a corpus is tried: the one that knows most comes first.

It stands here, where nothing heavy is imported, so that help pages can list it.
"""
