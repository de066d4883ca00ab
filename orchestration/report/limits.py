"""What no audit can tell, in the report and on the model card alike."""

LIMITS = (
    "How right the truth is. It is what raters said, and raters have gaps of their own.",
    "Why a gap is there. Groups may differ in recording, wording or emotion and not only in the "
    "voice.",
    "Anything about groups that the metadata do not name, or about speakers who differ from those "
    "in the corpus.",
    "That the model is fair because no gap fails: with few speakers only large gaps can be seen.",
    "Whether it is right to use the model for a purpose. Emotion in a voice is not what a person "
    "feels.",
)
