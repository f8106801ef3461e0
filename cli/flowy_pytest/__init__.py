"""Tests of workflows in pytest: fixtures, and captured histories that present code must still replay."""
