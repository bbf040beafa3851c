"""The number of micronuclei: a counter fitted on the features of a yes/no model, and how good its counts are."""
