"""Formats of FFmpeg that hold video themselves: none of them names another file or host.

Left out on purpose are sdp, rtsp, rtp, hls, dash, concat, imf, image2, lavfi, and devices.
"""

_VIDEOS = (
    "mov,mp4,3gp,matroska,webm,avi,mpegts,mpegtsraw,mpeg,mpegvideo,flv,live_flv,kux,asf,ogg,nut,mxf,"
    "gxf,lxf,rm,ivr,wtv,nsv,nuv,dv,dhav,vividas,film_cpk,smk,bink,roq,flic,idcin,thp,wc3movie,xmv"
)
_BARE_STREAMS = (
    "h261,h263,h264,hevc,vvc,evc,av1,obu,ivf,apv,m4v,mjpeg,mpjpeg,mjpeg_2000,smjpeg,vc1,vc1test,"
    "cavsvideo,avs2,avs3,dirac,dnxhd,ipu,yuv4mpegpipe"
)
_PICTURES = (
    "gif,apng,jpegxl_anim,bmp_pipe,dpx_pipe,exr_pipe,gif_pipe,hdr_pipe,j2k_pipe,jpeg_pipe,"
    "jpegls_pipe,jpegxl_pipe,pam_pipe,pbm_pipe,pgm_pipe,png_pipe,ppm_pipe,psd_pipe,qoi_pipe,"
    "sgi_pipe,tiff_pipe,webp_pipe,xbm_pipe,xpm_pipe"
)
#: What bytes from a file or a server may be.
SELF_CONTAINED = f"{_VIDEOS},{_BARE_STREAMS},{_PICTURES}"
#: A playlist, and what its segments may be.
PLAYLIST = f"hls,{SELF_CONTAINED},aac,ac3,eac3,mp3,webvtt"
