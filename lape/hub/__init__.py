"""The Hugging Face Hub: requests whose failures are explained, snapshots of a commit, a repo about to be changed."""
