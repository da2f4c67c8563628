"""What searches and transcripts take for granted; without torch, for the command line."""

from dataclasses import dataclass

from mt4ssl_core.settings.bounds import check, number

FORMATS = ("txt", "jsonl", "srt", "vtt")  # of transcripts
LM_WEIGHTS, WORD_SCORES = "0.5,1,1.5,2,2.5,3", "-2,-1,0,1,2"  # that are tried in tuning
RECORD = "decode.json"  # what `mt4ssl decode` leaves in a folder
CASES = ("upper", "lower", "keep")  # of transcripts


@dataclass(frozen=True)
class BeamSettings:
    """The search's settings; the defaults are those of the papers.

    beam: hypotheses that are kept at every frame. threshold: those worse than the best by more are
    dropped. lm_weight: of the language model. word_score: added for every word. sil_score: added
    for every separator. nbest: hypotheses that are returned.
    """

    beam: int = number(1500, at_least=1, at_most=1_000_000)
    threshold: float = number(25.0, above=0, at_most=1e6)
    lm_weight: float = number(2.0, at_least=0, at_most=1000)
    word_score: float = number(-1.0, at_least=-1000, at_most=1000)
    sil_score: float = number(0.0, at_least=-1000, at_most=1000)
    nbest: int = number(1, at_least=1, at_most=10_000)

    def __post_init__(self) -> None:
        check(self, "")
        if self.nbest > self.beam:
            raise ValueError(
                f"nbest: {self.nbest}, more than the {self.beam} hypotheses of the beam; raise beam"
            )
