# One image for a Dataflow Flex template: the workers' image, with Google Cloud's clients and what
# launches a job. It keeps Beam's entry point, so that it serves the workers too.
#   docker build -f infra/beam/dataflow-template.Dockerfile -t serval-dataflow:0.1.0 .
ARG BASE=serval-beam:0.1.0
ARG LAUNCHER=gcr.io/dataflow-templates-base/python311-template-launcher-base:latest
FROM ${LAUNCHER} AS launcher

FROM ${BASE}
# gcsfs is released with fsspec, and wants its version.
RUN pip install --no-cache-dir --constraint /serval/constraints.txt "apache-beam[gcp]" \
    "gcsfs==$(sed -n 's/^fsspec==//p' /serval/constraints.txt)"
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY infra/beam/dataflow_template.py /template/dataflow_template.py
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/dataflow_template.py
