"""How detectors lay out their answers, and how each is read.

`base.py` says what a layout is, `table.py` which there are and which one an answer has. A layout is
told by the names and shapes of the outputs (K boxes, C classes):

| format | outputs | boxes | scores |
|---|---|---|---|
| `yolox-raw`, `yolox-decoded` | (1, K, 5 + C) | see `motrail.detect.decode` | objectness · class |
| `yolov5` | (1, K, 5 + C) | centre, size; pixels | objectness · class; doubles |
| `yolov7-end2end` | (K, 7) | picture, corners, class, score; pixels | |
| `yolov8` | (1, 4 + C, K) | centre, size; pixels | class; doubles |
| `yolov10` | (1, K, 6) | corners, score, class; pixels | |
| `rt-detr` | labels, boxes, scores | corners; pixels of `orig_target_sizes` | |
| `rt-detr-ultralytics` | (1, K, 4 + C) | centre, size; shares of the input | class |
| `rt-detr-transformers` | logits, pred_boxes | centre, size; shares of the input | before sigmoid |

Pixels are those of the input, counted from its top left corner. "Doubles" are boxes of the same
object, which non-maximum suppression has to remove; the others do without. Sources:

- YOLOv5: https://github.com/ultralytics/yolov5/issues/3387
- YOLOv7: https://github.com/WongKinYiu/yolov7, `export.py --grid`, with `--end2end` the rows of
  `ONNX_ORT` in models/experimental.py
- YOLOv8, v9, v11: https://github.com/ultralytics/ultralytics/issues/22697, and issue 20216
- YOLOv10, YOLO26, and any with `nms=True`: https://docs.ultralytics.com/guides/end2end-detection
- RT-DETR: https://github.com/lyuwenyu/RT-DETR, rtdetr_pytorch/tools/export_onnx.py;
  `RTDETRPredictor` of Ultralytics; `RTDetrForObjectDetection` of Hugging Face Transformers
"""
