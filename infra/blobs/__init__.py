"""Where the contents of documents are: a folder, or a bucket of an S3 server. One contract, one function that chooses."""

from infra.blobs.folder import FolderBlobs
from infra.blobs.port import PIECE, BlobStore, ContentDamagedError, StoreAway, collect
from infra.settings import Settings

__all__ = ["PIECE", "BlobStore", "ContentDamagedError", "FolderBlobs", "StoreAway", "blobs", "collect"]


def blobs(settings: Settings) -> BlobStore:
    """The store that these settings name."""
    if settings.bucket is None:
        return FolderBlobs(settings.blobs_folder, max_bytes=settings.max_upload_bytes)
    from infra.blobs.s3 import S3Blobs

    bucket, prefix = settings.bucket
    return S3Blobs(bucket, prefix, endpoint=settings.s3_endpoint, max_bytes=settings.max_upload_bytes)
