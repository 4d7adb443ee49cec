"""Streams sent on as video: to RTSP and RTMP servers, HLS playlists, other programs."""
