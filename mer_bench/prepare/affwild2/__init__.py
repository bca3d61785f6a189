"""Aff-Wild2 (ABAW): official annotations joined with features by frame number, or by time."""

from mer_bench.prepare.affwild2.official import OfficialAnnotations

LAYOUTS = (OfficialAnnotations(),)
