"""The datamodule of each corpus: its name and what to know of it. Everything else is `MERDataModule`."""

from __future__ import annotations

from typing import Any

from mer_bench.data.datamodule import MERDataModule


class Custom(MERDataModule):
    """A corpus of one's own, whose `Corpus` with its protocols stands in a package named with ``--trust``.

    Expected file: `<corpus>.h5` as written by ``mer-bench prepare table`` or `mer_bench.data.write`.

    Args:
        corpus: slug of the corpus.
        **settings: as every datamodule.
    """

    def __init__(self, corpus: str, **settings: Any) -> None:
        self.corpus = corpus  # type: ignore[misc]  # of this object instead of its class
        super().__init__(**settings)


class IEMOCAP(MERDataModule):
    """Ten actors in five dyadic sessions (Busso et al., 2008).

    Content: 10,039 rated turns, speech, text and face. Labels: four or six classes, valence, arousal, dominance.
    Splits: leave one session out. Licence: on request from the University of Southern California.
    Expected file: `iemocap.h5` as written by ``mer-bench prepare iemocap``.
    """

    corpus = "iemocap"


class BioVid(MERDataModule):
    """Heat pain in 87 people, video and biosignals (Walter et al., 2013), part A.

    Content: 100 windows of 5.5 s per person. Labels: no pain and four levels. Splits: by person.
    Licence: on request from the University of Magdeburg. Expected file: `biovid.h5`.
    """

    corpus = "biovid"


class CMUMOSEI(MERDataModule):
    """Video monologues with sentiment and six emotions (Bagher Zadeh et al., 2018).

    Content: about 23,000 clips, text, audio and vision. Labels: sentiment -3 to 3, six emotions, each present or not.
    Splits: official folds of videos. Licence: from Carnegie Mellon University.
    Expected file: `mosei.h5` as written by ``mer-bench prepare mosei``.
    """

    corpus = "mosei"


class CMUMOSI(MERDataModule):
    """Video reviews of films with sentiment (Zadeh et al., 2016).

    Content: 2,199 clips of 93 videos, text, audio and vision. Labels: sentiment -3 to 3.
    Splits: official folds of videos; `mosi_bclstm` keeps that of bc-LSTM, whose own text and video features are refused
    where they would be scored on what those networks saw. Licence: from Carnegie Mellon University.
    Expected file: `mosi.h5` as written by ``mer-bench prepare mosi``.
    """

    corpus = "mosi"


class AffWild2(MERDataModule):
    """Faces in the wild, annotated frame by frame (Kollias and Zafeiriou, 2018).

    Content: tracks of one person in one video; vision on the frames of the video, audio on a clock of its own.
    Labels: valence and arousal, eight expressions, twelve action units, each on its own frames. Splits: official parts
    by video. Licence: on request from the organisers of the ABAW challenges.
    Expected file: `affwild2.h5` as written by ``mer-bench prepare affwild2``.
    """

    corpus = "affwild2"
