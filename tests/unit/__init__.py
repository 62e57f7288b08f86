"""Tests of pure code, without processes or network."""
