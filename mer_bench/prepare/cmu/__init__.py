"""CMU-MOSI and CMU-MOSEI: converters for the forms in which the two corpora are found."""
