# One image with the bundled model in it; docs/hosting.md says how it is run.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    STRATA_HOME=/opt/strata \
    STRATA_STATE=/var/lib/strata
WORKDIR /app

# PyTorch from its own index: the one of PyPI carries CUDA, several GB that are not used here.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --index-url "$TORCH_INDEX" "torch==2.13.*"
COPY requirements.txt ./
RUN pip install -r requirements.txt

COPY models.toml texts.toml ./
COPY strata strata
RUN python -m strata fetch smollm2-135m
COPY app.py LICENSE ./
COPY .streamlit .streamlit
COPY pages pages
COPY lessons lessons
COPY sets sets

# Programs and weights belong to root: what runs here can write to the volume only.
RUN useradd --uid 10001 --create-home strata && install -d -o strata "$STRATA_STATE"
USER strata
VOLUME /var/lib/strata
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/readyz', timeout=4)"]
CMD ["streamlit", "run", "app.py", "--server.address", "0.0.0.0", "--server.port", "8501", "--server.headless", "true"]
