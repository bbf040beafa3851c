"""Model directories, minibatches packed across slides, and the classifier that scores them."""
