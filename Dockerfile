# gatys-norm in a container, for a CPU or, with EXTRAS=cuda, an NVIDIA GPU:
#
#   docker build --tag=gatys-norm .
#   docker build --tag=gatys-norm --build-arg=EXTRAS=cuda .
#
# Pictures are read and written in /pictures; the weights are kept in /cache:
#
#   docker run --rm --init --user="$(id -u):$(id -g)" \
#       --volume="$PWD:/pictures" --volume=gatys-norm:/cache \
#       gatys-norm --content=town.jpg --style=painting.jpg --output=out.png
#
# A GPU needs --gpus=all, the page of --preview needs --network=host.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim
ARG EXTRAS=""
WORKDIR /source
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY gatys_norm gatys_norm
RUN pip install --no-cache-dir ".${EXTRAS:+[$EXTRAS]}"
# Whoever --user names may write there, as in /tmp.
RUN useradd --no-create-home --home-dir=/cache painter \
    && mkdir --mode=1777 /pictures /cache
ENV HOME=/cache
VOLUME ["/pictures", "/cache"]
WORKDIR /pictures
USER painter
ENTRYPOINT ["gatys-norm"]
CMD ["--help"]
