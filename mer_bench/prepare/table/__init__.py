r"""Any other corpus: a YAML file says where ids, features and labels are.

    corpus: mine                      # slug: small letters, digits, hyphens
    licence: CC BY 4.0                # and: corpus_version, corpus_part, notes
    items:                            # one row per item; paths are relative to the YAML file
      table: items.csv                # comma-separated, with a header; `delimiter: "\t"` for tabs
      id: name                        # columns by what they are
      speaker: person                 # and: session, dialogue, order, start_s, end_s, text (kept only with --text)
      attrs: {sex: sex, age: age}     # further columns; those of numbers only become numbers
    modalities:
      audio: {folder: wavlm, rate_hz: 50, extractor: wavlm-base}     # <id>.npy or .csv: (frames, features), or a vector
      text: {archive: text.npz}                                      # values, ids, and lengths where they are ragged
      bio: {table: bio.csv, id: name, columns: [eda, ecg]}           # all other columns without `columns`
      face: {folder: tuned, fitted_on: official}   # extractor trained with labels of that split's training part
    labels:
      emotion: {kind: multiclass, column: label, names: [angry, sad], missing: [xxx]}
      va: {kind: regression, columns: [valence, arousal], range: [-1, 1], missing: ["-5"]}
      tags: {kind: multilabel, columns: [laughs, cries]}
      mood: {kind: regression, columns: [valence], folder: ratings, rate_hz: 10}    # per frame: <id>.csv
    splits:
      official: {column: part, train: [train], validation: [dev], test: [test], disjoint_by: [speaker]}

An empty cell is a missing label. Items without features in a modality lack it; rows that are not finite, or zero
throughout, are masked and counted; so are those with a value in `missing: [-255, 255]` of a modality. Folders of tables
take `columns` and `delimiter` too.
"""

from mer_bench.prepare.table.layout import TableSpec

LAYOUTS = (TableSpec(),)
