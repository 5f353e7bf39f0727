"""The learners of the ensemble: ridge Cox, survival forest, boosted trees and their stack."""
