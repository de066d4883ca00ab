"""Models that transcribe, by URI: on the hub, or in a folder of its layout."""

from __future__ import annotations

from dataclasses import dataclass

from ser_model import storage
from ser_model.models.checkpoint import CONFIG_NAME, HUB_SCHEME, hub_revision
from ser_model.models.transcriber import Transcriber, load_transcriber
from ser_model.schema import ModelError

KNOWN_URIS = "hf:ORG/NAME, hf:ORG/NAME@REVISION, or a folder in the Hugging Face layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTranscriber:
    """A model that was found: which one, and where any process can load it from.

    Attributes:
        uri: pinned: a hub's branch has become a commit, a folder is absolute.
        version: short and unlike that of other models.
        weights_sha256: of all that its transcripts depend on; `load` accepts nothing else.
    """

    uri: str
    version: str
    weights_sha256: str

    def load(self) -> Transcriber:
        """Load the model, in eval mode.

        Raises:
            ModelError: it cannot be loaded, or is not the one that was resolved.
        """
        model = load_transcriber(self.uri)
        if model.weights_sha256 != self.weights_sha256:
            raise ModelError(f"the weights of {self.uri} have changed since they were resolved")
        return model


def resolve_transcriber(uri: str) -> ResolvedTranscriber:
    """Find a model that transcribes.

    Args:
        uri: one of KNOWN_URIS.

    Raises:
        ModelError: there is no such model, or it transcribes nothing.
    """
    if uri.startswith(HUB_SCHEME):
        hub_id, revision = hub_revision(uri)
        pinned, version = f"{HUB_SCHEME}{hub_id}@{revision}", f"{hub_id}@{revision[:12]}"
        sha256 = load_transcriber(pinned).weights_sha256
        return ResolvedTranscriber(uri=pinned, version=version, weights_sha256=sha256)
    if storage.exists(storage.join(uri, CONFIG_NAME)):
        path = storage.local_path(uri)
        pinned = uri if path is None else str(path.absolute())
        sha256 = load_transcriber(pinned).weights_sha256
        return ResolvedTranscriber(uri=pinned, version=sha256[:12], weights_sha256=sha256)
    raise ModelError(f"no model that transcribes at {uri!r}; known are: {KNOWN_URIS}")
