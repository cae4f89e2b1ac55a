"""Writers of DICOM objects: what the tests, the demo and the benchmarks read.

Everything is written by pydicom and highdicom, never by the package under test, and the
same arguments give the same pixels.
"""
