"""Readers turn corpora as they lie on disk into manifests; one small file a layout.

A reader is a module with LAYOUT (one line), `matches(source, files)` and `read(source, files)`.
`source` is what the user named; `files` are the paths of all files below it, none where the source
is a file itself. `read` returns a table, its recordings relative to `folder_of(source, files)`.
"""
